"""The few Linux system calls that Python 3.11 does not offer, each raising OSError."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC = 0x20, 0x1000, 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
_OPEN_TREE, _MOVE_MOUNT = 428, 429  # the same on every architecture
_OPEN_TREE_CLONE, _AT_RECURSIVE, _MOVE_FROM_EMPTY_PATH = 1, 0x8000, 4
_FSOPEN, _FSCONFIG, _FSMOUNT, _FSCONFIG_CMD_CREATE = 430, 431, 432, 6
_AT_FDCWD = -100
_MOUNT_SETATTR, _MOUNT_ATTR_RDONLY = 442, 1
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
PR_CAPBSET_DROP = 24

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def new_user_namespace(uid: int, gid: int, flags: int = 0) -> None:
    """Become `uid` and `gid` there, who are nobody but this process's user outside.

    `flags` are further namespaces. The process has all capabilities in them.
    """
    own_uid, own_gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | flags)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {own_uid} 1"),
        ("gid_map", f"{gid} {own_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def setns(path: str) -> None:
    """Enter the namespace that a file of /proc/PID/ns stands for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, 0), f"setns {path}")
    finally:
        os.close(descriptor)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    arguments = [os.fsencode(text) or None for text in (source, target, kind)]
    result = _libc.mount(
        arguments[0] or b"none",
        arguments[1],
        arguments[2],
        ctypes.c_ulong(flags),
        os.fsencode(options) or None,
    )
    _check(result, f"mount {kind or 'bind'} {source} on {target}")


def unmount(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def clone_mount(source: str) -> int:
    """A bind mount of `source`, with all below it, that is nowhere yet: a descriptor."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    found: int = _libc.syscall(
        ctypes.c_long(_OPEN_TREE), _AT_FDCWD, os.fsencode(source), ctypes.c_uint(flags)
    )
    _check(0 if found >= 0 else -1, f"open_tree {source}")
    return found


def new_mount(kind: str) -> int:
    """A file system as a mount that is nowhere yet: no programs, devices, set-user-id there."""
    context: int = _libc.syscall(ctypes.c_long(_FSOPEN), os.fsencode(kind), ctypes.c_uint(1))
    _check(0 if context >= 0 else -1, f"fsopen {kind}")
    try:
        create = ctypes.c_uint(_FSCONFIG_CMD_CREATE)
        result = _libc.syscall(ctypes.c_long(_FSCONFIG), context, create, None, None, 0)
        _check(result, f"fsconfig {kind}")
        flags = ctypes.c_uint(1), ctypes.c_uint(MS_NOSUID | MS_NODEV | MS_NOEXEC)
        found: int = _libc.syscall(ctypes.c_long(_FSMOUNT), context, *flags)
        _check(0 if found >= 0 else -1, f"fsmount {kind}")
    finally:
        os.close(context)
    return found


def attach_mount(descriptor: int, target: str) -> None:
    """Put what `clone_mount` gave at its place, and close it."""
    result = _libc.syscall(
        ctypes.c_long(_MOVE_MOUNT), descriptor, b"", _AT_FDCWD, os.fsencode(target),
        ctypes.c_uint(_MOVE_FROM_EMPTY_PATH),
    )  # fmt: skip
    _check(result, f"move_mount {target}")
    os.close(descriptor)


def make_read_only(target: str) -> None:
    """A mount and all below it (Linux 5.12)."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR), _AT_FDCWD, os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE), attributes, ctypes.c_size_t(32),
    )  # fmt: skip
    _check(result, f"mount_setattr {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    number = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
    result = _libc.syscall(ctypes.c_long(number), os.fsencode(new_root), os.fsencode(put_old))
    _check(result, "pivot_root")


def set_hostname(name: str) -> None:
    data = name.encode()[:64]
    _check(_libc.sethostname(data, len(data)), "sethostname")


def prctl(option: int, value: int, second: int = 0) -> None:
    zero = ctypes.c_ulong(0)
    values = ctypes.c_ulong(value), ctypes.c_ulong(second)
    _check(_libc.prctl(option, *values, zero, zero), "prctl")


def start_ticks(pid: int) -> int:
    """Start time of a process in clock ticks since boot (field 22 of stat); OSError if gone.

    Together with the pid it names one process for the life of the machine.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")


def children(pid: int) -> list[int]:
    """Host pids of a process's direct children, oldest first."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(text) for text in file.read().split()]
    except FileNotFoundError:
        return _children_by_scan(pid) if os.path.exists(f"/proc/{pid}") else []


def own_children() -> list[int]:
    """This process's children by the numbers that it knows them by: it may be in a pid namespace
    of its own while /proc is the host's."""
    found = []
    for pid in children(int(os.readlink("/proc/self"))):
        try:
            with open(f"/proc/{pid}/status") as file:
                line = next(line for line in file if line.startswith("NSpid:"))
            found.append(int(line.split()[-1]))
        except (FileNotFoundError, ProcessLookupError, StopIteration):
            continue
    return found


def _children_by_scan(parent: int) -> list[int]:
    """For kernels without CONFIG_PROC_CHILDREN."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == parent:
                    found.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)
