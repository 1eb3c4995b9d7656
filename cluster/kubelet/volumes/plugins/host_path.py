"""hostPath (of pods and of PersistentVolumes) and local volumes: what is on the node already."""

from __future__ import annotations

import os
import stat

from cluster.kubelet.environment import ConfigError
from cluster.kubelet.volumes.plugin import Placed, Wanted


class HostPath:
    """Nothing of it is ours: it is neither owned by a group nor removed."""

    name = "kubernetes.io/host-path"

    def owns(self, wanted: Wanted) -> bool:
        return False

    def supports(self, wanted: Wanted) -> bool:
        return wanted.source.get("hostPath") is not None

    def plan(self, wanted: Wanted) -> Placed:
        uid, path = wanted.pod["metadata"]["uid"], str(wanted.source["hostPath"]["path"])
        return Placed(self.name, uid, wanted.name, wanted.identity, path)

    async def set_up(self, wanted: Wanted, placed: Placed) -> None:
        _check(placed.path, wanted.source["hostPath"].get("type") or "")

    async def tear_down(self, placed: Placed, last: bool) -> None:
        return

    async def expand(self, wanted: Wanted, placed: Placed) -> int | None:
        return None


class Local:
    """The PersistentVolume's `local` path: a folder, or a block device. It has to be there."""

    name = "kubernetes.io/local-volume"

    def owns(self, wanted: Wanted) -> bool:
        return True

    def supports(self, wanted: Wanted) -> bool:
        return wanted.source.get("local") is not None

    def plan(self, wanted: Wanted) -> Placed:
        uid, path = wanted.pod["metadata"]["uid"], str(wanted.source["local"]["path"])
        if ".." in path.split("/"):
            raise ConfigError(f"local volume {wanted.identity}: the path must not have '..'")
        return Placed(self.name, uid, wanted.name, wanted.identity, path)

    async def set_up(self, wanted: Wanted, placed: Placed) -> None:
        if not os.path.exists(placed.path):
            raise ConfigError(f'path "{placed.path}" does not exist')
        mode = os.stat(placed.path).st_mode
        if wanted.block and not stat.S_ISBLK(mode):
            raise ConfigError(f'path "{placed.path}" is not a block device')
        if not wanted.block and not stat.S_ISDIR(mode):
            raise ConfigError(f'path "{placed.path}" is not a directory')

    async def tear_down(self, placed: Placed, last: bool) -> None:
        return

    async def expand(self, wanted: Wanted, placed: Placed) -> int | None:
        return None


def _check(path: str, kind: str) -> None:
    """hostPath types: what must be there, or is made."""
    if kind == "DirectoryOrCreate":
        os.makedirs(path, mode=0o755, exist_ok=True)
    if kind == "FileOrCreate" and not os.path.exists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    if not os.path.exists(path):
        raise ConfigError(f"hostPath {path} does not exist")
    mode = os.stat(path).st_mode
    for prefix, matches, text in _KINDS:
        if kind.startswith(prefix) and not matches(mode):
            raise ConfigError(f"hostPath type check failed: {path} is not a {text}")


_KINDS = (
    ("Directory", stat.S_ISDIR, "directory"),
    ("File", stat.S_ISREG, "file"),
    ("Socket", stat.S_ISSOCK, "socket file"),
    ("CharDevice", stat.S_ISCHR, "character device"),
    ("BlockDevice", stat.S_ISBLK, "block device"),
)
