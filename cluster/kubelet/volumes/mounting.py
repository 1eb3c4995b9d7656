"""Mounts and loop devices of the host. Blocking: call it in a thread. Raises OSError."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Sequence

from cluster.kubelet.runtimes import host_mounts
from cluster.kubelet.runtimes.helpers import linux

_TIMEOUT_S = 120.0
_CAP_SYS_RESOURCE = 24
BUSY_LATER = linux.MNT_DETACH
"""A mount that something still uses vanishes from the tree at once, and ends with its last user."""


def is_mounted(path: str) -> bool:
    return any(point == path for point, _ in host_mounts.mounts())


def below(path: str) -> list[str]:
    """Mount points at and under a path, the innermost first."""
    inside = path.rstrip("/") + "/"
    points = [point for point, _ in host_mounts.mounts()]
    return [point for point in reversed(points) if point == path or point.startswith(inside)]


def unmount(path: str) -> None:
    """Everything at `path` and under it; nothing if nothing is mounted."""
    for point in below(path):
        linux.unmount(point, BUSY_LATER)


def bind(source: str, target: str) -> None:
    linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REC)


def tmpfs(target: str, size_bytes: int | None) -> None:
    options = "mode=777" + (f",size={size_bytes}" if size_bytes is not None else "")
    linux.mount("tmpfs", target, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, options)


def run(*command: str, good: Sequence[int] = (0,)) -> str:
    """Output of a program. Raises OSError with what it said, unless its exit code is `good`."""
    program = find(command[0])
    if program is None:
        raise OSError(errno.ENOENT, f"{command[0]} is not installed on this node")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        text = f"{command[0]} did not end in {_TIMEOUT_S:.0f} s"
        raise TimeoutError(errno.ETIMEDOUT, text) from None
    if done.returncode not in good:
        said = (done.stderr or done.stdout).strip()
        raise OSError(errno.EIO, f"{command[0]}: {said or f'exit code {done.returncode}'}")
    return done.stdout.strip()


def find(program: str) -> str | None:
    """Also where only root's PATH would lead."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return shutil.which(program, path=path)


def can_loop() -> bool:
    """Whether files can be block devices and file systems here."""
    programs = ("losetup", "mkfs.ext4", "e2fsck", "resize2fs", "mount")
    return os.geteuid() == 0 and os.path.exists("/dev/loop-control") and all(map(find, programs))


def loop_devices(image: str) -> Sequence[str]:
    """The loop devices that show a file."""
    listed = run("losetup", "--noheadings", "--output", "NAME", "--associated", image)
    return listed.split()


def attach_loop(image: str) -> str:
    """The device that shows the file; the one that is there, if there is one."""
    found = loop_devices(image)
    return found[0] if found else run("losetup", "--find", "--show", image)


def detach_loops(image: str) -> None:
    for device in loop_devices(image) if os.path.exists(image) else ():
        run("losetup", "--detach", device)


def make_image(image: str, size_bytes: int, *, formatted: bool) -> None:
    """A sparse file of that size, with an empty ext4 in it; complete once it has its name."""
    new = image + ".new"
    with open(new, "wb") as file:
        os.chmod(new, 0o600)
        file.truncate(size_bytes)
    if formatted:
        run("mkfs.ext4", "-q", "-F", "-m", "0", new)
    os.replace(new, image)


def mount_image(image: str, target: str) -> None:
    """The device goes when the file system is unmounted (autoclear)."""
    run("mount", "-t", "ext4", "-o", "loop,nosuid,nodev", image, target)


def can_grow_mounted() -> bool:
    """The kernel grows a file system in use only for those with CAP_SYS_RESOURCE."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)


def formatted_bytes(image: str) -> int:
    """How much of an image its ext4 takes: blocks and their size, from the superblock."""
    with open(image, "rb") as file:
        file.seek(1024)
        head = file.read(28)
    blocks, shift = int.from_bytes(head[4:8], "little"), int.from_bytes(head[24:28], "little")
    return blocks << (10 + shift)


def grow_image(image: str, size_bytes: int) -> None:
    """The file, the devices that show it and the file system, which may be in use or not.

    Raises OSError (EBUSY) where it is in use and so cannot grow.
    """
    if os.path.getsize(image) < size_bytes:
        os.truncate(image, size_bytes)
    if formatted_bytes(image) >= size_bytes:
        return
    devices = loop_devices(image)
    if not devices:
        run("e2fsck", "-f", "-p", image, good=(0, 1))  # 1: it has repaired something
        run("resize2fs", image)
        return
    if not can_grow_mounted():
        raise OSError(errno.EBUSY, "this node cannot grow a file system while a pod uses it")
    for device in devices:
        run("losetup", "--set-capacity", device)
        run("resize2fs", device)


def grow_device(image: str, size_bytes: int) -> None:
    if os.path.getsize(image) < size_bytes:
        os.truncate(image, size_bytes)
    for device in loop_devices(image):
        run("losetup", "--set-capacity", device)
