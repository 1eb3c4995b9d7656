"""A container's own view of the file system: its image or the host's files, and its volumes.

Runs in the child that becomes the container, in its own mount namespace: nothing of it is seen
by, or left behind in, the host's mount table. Whatever is to be mounted is taken hold of first;
mount points are looked up, and made, only when nothing of the host is in sight any more. So no
link in an image or a volume can lead them out.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from cluster.kubelet.runtimes.helpers import linux

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
"""As container engines have it: what tells about, or reaches, the machine."""
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_SAFE = linux.MS_NOSUID | linux.MS_NOEXEC | linux.MS_NODEV


class _Source:
    """A file or folder of the host, held as a mount that is nowhere yet."""

    def __init__(self, path: str) -> None:
        self._is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        self._tree = linux.clone_mount(path)

    def mount(self, target: str, *, read_only: bool = False) -> None:
        """The mount point is made where it is missing."""
        _make_mount_point(target, is_folder=self._is_folder)
        linux.attach_mount(self._tree, target)
        if read_only:
            _make_read_only(target)


def enter_own_root(folder: str, spec: dict[str, Any]) -> None:
    """Make `folder`/upper over the image this process's root, with /proc, /dev, /sys and volumes.

    Without an image it is over the host's own root.
    """
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS)
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.set_hostname(spec["hostname"])
    image = spec.get("root") or ""
    here = [] if image else spec["host_mounts"]
    host = []
    for path in here:
        with contextlib.suppress(OSError):  # unmounted since the runtime looked
            host.append((path, _Source(path)))
    volumes = [(mount, _Source(mount["source"])) for mount in spec["mounts"]]
    devices = [(name, _Source(f"/dev/{name}")) for name in _DEVICES]
    system = _Source("/sys")
    proc = linux.new_mount("proc")  # a user namespace may have one while it sees another
    _pivot(folder, image, own_users=spec["isolation"] == "user")
    for path, source in host:
        with contextlib.suppress(OSError):  # what it was mounted on is gone, too
            source.mount(path, read_only=True)
    os.makedirs("/proc", exist_ok=True)
    linux.attach_mount(proc, "/proc")
    _mount_system(system, devices, privileged=bool(spec.get("privileged")))
    for mount, source in volumes:
        source.mount(mount["target"], read_only=mount["read_only"])
    if spec["read_only_root"]:
        _make_read_only("/")


def _pivot(folder: str, image: str, *, own_users: bool) -> None:
    """The old root goes at once: afterwards there is nothing of the host to be reached."""
    os.chdir(folder)  # relative paths need no escaping in the mount options
    for name in ("upper", "work", "merged"):
        os.makedirs(name, exist_ok=True)
    os.chmod("upper", 0o755)
    lower = os.open(image or "/", os.O_PATH | os.O_DIRECTORY)
    options = f"lowerdir=/proc/self/fd/{lower},upperdir=upper,workdir=work"
    options += ",userxattr" if own_users else ""
    linux.mount("overlay", "merged", "overlay", linux.MS_NODEV, options)
    os.close(lower)
    os.chdir("merged")
    linux.pivot_root(".", ".")
    linux.unmount(".", linux.MNT_DETACH)
    os.chdir("/")


def _mount_system(system: _Source, devices: list[tuple[str, _Source]], *, privileged: bool) -> None:
    system.mount("/sys")
    os.makedirs("/dev", exist_ok=True)
    linux.mount("tmpfs", "/dev", "tmpfs", linux.MS_NOSUID, "mode=755,size=65536k")
    for name, source in devices:
        source.mount(f"/dev/{name}")
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm", 0o1777)
    linux.mount("tmpfs", "/dev/shm", "tmpfs", _SAFE, "mode=1777,size=65536k")
    os.mkdir("/dev/pts", 0o755)
    linux.mount(
        "devpts", "/dev/pts", "devpts", linux.MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620"
    )
    if not privileged:
        _protect()


def _protect() -> None:
    for path in _MASKED:
        if os.path.isdir(path):
            linux.mount("tmpfs", path, "tmpfs", _SAFE | linux.MS_RDONLY, "size=0k")
        elif os.path.exists(path):
            linux.mount("/dev/null", path, flags=linux.MS_BIND)
    for path in _READ_ONLY:
        if os.path.exists(path):
            linux.mount(path, path, flags=linux.MS_BIND | linux.MS_REC)
            _make_read_only(path)
    try:
        linux.make_read_only("/sys")
    except OSError:  # an old kernel: then without the control groups, which are mounts below it
        _make_read_only("/sys")
        linux.mount("tmpfs", "/sys/fs/cgroup", "tmpfs", _SAFE | linux.MS_RDONLY, "size=0k")


def _make_mount_point(target: str, *, is_folder: bool) -> None:
    if is_folder:
        os.makedirs(target, exist_ok=True)
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(target):  # such as Debian's resolv.conf -> /run, which is not there
        os.unlink(target)
    if not os.path.exists(target):
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))


def _make_read_only(target: str) -> None:
    flags = os.statvfs(target).f_flag & _SAFE
    linux.mount("", target, flags=linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | flags)


def link_mounts(folder: str, spec: dict[str, Any]) -> None:
    """Plain mode: volumes cannot be at their paths, so `folder`/mounts mirrors them with links."""
    for mount in spec["mounts"]:
        link = os.path.join(folder, "mounts", mount["target"].lstrip("/"))
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if not os.path.lexists(link):
            os.symlink(mount["source"], link)
