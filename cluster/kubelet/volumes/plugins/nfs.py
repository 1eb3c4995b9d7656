"""NFS: mounted once for each pod by the node's own mount.nfs."""

from __future__ import annotations

import asyncio
import os

from cluster.kubelet.environment import ConfigError
from cluster.kubelet.volumes import mounting
from cluster.kubelet.volumes.plugin import Placed, Wanted


class Nfs:
    name = "kubernetes.io/nfs"

    def owns(self, wanted: Wanted) -> bool:
        return False

    def supports(self, wanted: Wanted) -> bool:
        return wanted.source.get("nfs") is not None

    def plan(self, wanted: Wanted) -> Placed:
        if os.geteuid() != 0 or mounting.find("mount.nfs") is None:
            raise ConfigError("NFS volumes need a node run by root with mount.nfs (nfs-common)")
        uid = wanted.pod["metadata"]["uid"]
        read_only = wanted.read_only or bool(wanted.source["nfs"].get("readOnly"))
        return Placed(self.name, uid, wanted.name, wanted.identity, wanted.folder, read_only)

    async def set_up(self, wanted: Wanted, placed: Placed) -> None:
        if mounting.is_mounted(placed.path):
            return
        os.makedirs(placed.path, exist_ok=True)
        nfs = wanted.source["nfs"]
        options = [*(wanted.source.get("mountOptions") or ()), "ro" if placed.read_only else "rw"]
        where = f"{nfs['server']}:{nfs['path']}"
        command = ("mount", "-t", "nfs", "-o", ",".join(options), where, placed.path)
        await asyncio.to_thread(mounting.run, *command)

    async def tear_down(self, placed: Placed, last: bool) -> None:
        await asyncio.to_thread(mounting.unmount, placed.path)
        if os.path.isdir(placed.path):
            os.rmdir(placed.path)

    async def expand(self, wanted: Wanted, placed: Placed) -> int | None:
        return None
