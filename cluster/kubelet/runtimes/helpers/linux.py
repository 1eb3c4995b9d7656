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
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
PR_CAPBSET_DROP = 24

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


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
