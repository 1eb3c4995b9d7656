"""A container's own view of the file system: an overlay over the host's root, and its volumes.

Runs in the child that becomes the container, in its own mount namespace: nothing of it is seen
by, or left behind in, the host's mount table.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from cluster.kubelet.runtimes.helpers import linux

_OLD_ROOT = "/.raykube-old-root"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


def enter_own_root(folder: str, spec: dict[str, Any]) -> None:
    """Make `folder`/upper over `/` this process's root, with /proc, /dev, /sys and the volumes."""
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS)
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.set_hostname(spec["hostname"])
    os.chdir(folder)  # relative paths need no escaping in the mount options
    for name in ("upper", "work", "merged"):
        os.makedirs(name, exist_ok=True)
    os.chmod("upper", 0o755)
    options = "lowerdir=/,upperdir=upper,workdir=work"
    linux.mount("overlay", "merged", "overlay", 0, options)
    os.makedirs("merged" + _OLD_ROOT, exist_ok=True)
    linux.pivot_root("merged", "merged" + _OLD_ROOT)
    os.chdir("/")
    _mount_system(spec)
    for mount in spec["mounts"]:
        _mount_volume(mount)
    linux.unmount(_OLD_ROOT, linux.MNT_DETACH)
    os.rmdir(_OLD_ROOT)
    if spec["read_only_root"]:
        _make_read_only("/")


def _mount_system(spec: dict[str, Any]) -> None:
    for path in spec["host_mounts"]:
        with contextlib.suppress(FileNotFoundError):  # unmounted since the runtime looked
            bind(_OLD_ROOT + path, path, read_only=True)
    safe = linux.MS_NOSUID | linux.MS_NOEXEC | linux.MS_NODEV
    linux.mount("proc", "/proc", "proc", safe)
    linux.mount(_OLD_ROOT + "/sys", "/sys", flags=linux.MS_BIND | linux.MS_REC)
    linux.mount("tmpfs", "/dev", "tmpfs", linux.MS_NOSUID, "mode=755,size=65536k")
    for name in _DEVICES:
        bind(f"{_OLD_ROOT}/dev/{name}", f"/dev/{name}")
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm", 0o1777)
    linux.mount("tmpfs", "/dev/shm", "tmpfs", safe, "mode=1777,size=65536k")
    os.mkdir("/dev/pts", 0o755)
    linux.mount(
        "devpts", "/dev/pts", "devpts", linux.MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620"
    )


def _mount_volume(mount: dict[str, Any]) -> None:
    bind(_OLD_ROOT + mount["source"], mount["target"], read_only=mount["read_only"])


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Bind-mount a file or a folder; the mount point is made where it is missing."""
    _make_mount_point(target, is_folder=stat.S_ISDIR(os.stat(source).st_mode))
    linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REC)
    if read_only:
        _make_read_only(target)


def _make_mount_point(target: str, *, is_folder: bool) -> None:
    if is_folder:
        os.makedirs(target, exist_ok=True)
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(target):  # such as Debian's resolv.conf -> /run, which is not there
        os.unlink(target)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))


def _make_read_only(target: str) -> None:
    flags = os.statvfs(target).f_flag & (linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.mount("", target, flags=linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | flags)


def link_mounts(folder: str, spec: dict[str, Any]) -> None:
    """Plain mode: volumes cannot be at their paths, so `folder`/mounts mirrors them with links."""
    for mount in spec["mounts"]:
        link = os.path.join(folder, "mounts", mount["target"].lstrip("/"))
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if not os.path.lexists(link):
            os.symlink(mount["source"], link)
