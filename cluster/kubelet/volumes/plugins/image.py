"""Image volumes: the files of an image, read-only, from the node's own store.

The image is kept for as long as the volume stands, by a lock (see `images.roots`); after a restart
of the kubelet `set_up` takes it again. Where there is no root, and so no bind mount, the folder is
a link to the image's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from cluster.kubelet.environment import ConfigError
from cluster.kubelet.images.local import LocalImages, Prepared
from cluster.kubelet.images.manager import policy_of
from cluster.kubelet.runtimes.images import PullFailed
from cluster.kubelet.volumes import mounting
from cluster.kubelet.volumes.plugin import NotReady, Placed, Wanted


class ImageVolume:
    name = "kubernetes.io/image"

    def __init__(self, images: LocalImages) -> None:
        self._images = images
        self._locks: dict[str, int] = {}

    def owns(self, wanted: Wanted) -> bool:
        return False

    def supports(self, wanted: Wanted) -> bool:
        return wanted.source.get("image") is not None

    def plan(self, wanted: Wanted) -> Placed:
        uid = wanted.pod["metadata"]["uid"]
        return Placed(self.name, uid, wanted.name, wanted.identity, wanted.folder, read_only=True)

    async def set_up(self, wanted: Wanted, placed: Placed) -> None:
        source = wanted.source["image"]
        reference = source.get("reference") or ""
        if not reference:
            raise ConfigError(f"volume {wanted.name}: the image has no reference")
        prepared = await self._prepare(reference, source.get("pullPolicy") or "")
        old = self._locks.pop(wanted.identity, None)
        self._locks[wanted.identity] = prepared.lock
        if old is not None:
            os.close(old)
        await asyncio.to_thread(_show, prepared.root, placed.path)

    async def _prepare(self, reference: str, policy: str) -> Prepared:
        policy = policy or policy_of({"image": reference})
        try:
            prepared = None if policy == "Always" else await self._images.prepare(reference)
            if prepared is None and policy != "Never":
                await self._images.pull(reference, None)
                prepared = await self._images.prepare(reference)
        except PullFailed as error:
            raise NotReady(f'failed to pull image "{reference}": {error}') from None
        if prepared is None:
            raise NotReady(f'image "{reference}" is not present with pull policy of {policy}')
        return prepared

    async def tear_down(self, placed: Placed, last: bool) -> None:
        await asyncio.to_thread(_hide, placed.path)
        if (lock := self._locks.pop(placed.identity, None)) is not None:
            os.close(lock)

    async def expand(self, wanted: Wanted, placed: Placed) -> int | None:
        return None


def _show(root: str, path: str) -> None:
    if os.geteuid() != 0:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.islink(path):
            os.symlink(root, path)
        return
    os.makedirs(path, exist_ok=True)
    if not mounting.is_mounted(path):
        mounting.bind(root, path)


def _hide(path: str) -> None:
    if os.path.islink(path):
        os.unlink(path)
        return
    mounting.unmount(path)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)
