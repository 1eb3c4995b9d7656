"""The images of the process runtime: those of the machine's store, pulled into it if need be.

An image that is not here, and whose registry the node's settings do not name, is the host's own
root file system: so a cluster without any settings runs wherever Ray runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.kubelet.images import settings
from cluster.kubelet.images.documents import BadImage, ImageConfig
from cluster.kubelet.images.names import InvalidName, Reference, parse
from cluster.kubelet.images.pulling import Puller
from cluster.kubelet.images.roots import Roots
from cluster.kubelet.images.store import ImageStore, StoredImage
from cluster.kubelet.node_object import architecture
from cluster.kubelet.runtimes.images import HOST_IMAGE, Credentials, Image, PullFailed


@dataclass(frozen=True)
class Prepared:
    """An image that can be run on. `lock` keeps it: a descriptor for whoever asked to close."""

    root: str
    lock_path: str
    lock: int
    reference: str
    config: ImageConfig


def from_config(config: Mapping[str, Any], data_dir: str, seams: Seams) -> LocalImages:
    """`image_store` (a folder, DATA/images by default) and `registries`. Raises ValueError."""
    store = ImageStore(config.get("image_store") or os.path.join(data_dir, "images"))
    return LocalImages(store, settings.parse(config.get("registries") or {}), seams)


class LocalImages:
    """An `images.ImageService`."""

    def __init__(
        self, store: ImageStore, registries: settings.Registries, seams: Seams | None = None
    ) -> None:
        self.store, self.roots = store, Roots(store)
        self._registries = registries
        self._puller = Puller(seams, store, registries, architecture()) if seams else None

    async def find(self, reference: str) -> Image | None:
        name = _parse(reference)
        stored = self._find(reference, name)
        if stored is not None:
            return _image(stored)
        return None if self._registries.knows(name.registry) else HOST_IMAGE

    def _find(self, reference: str, name: Reference) -> StoredImage | None:
        return self.store.by_id(reference) or self.store.find(name)

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        name = _parse(reference)
        if self._puller is None or not self._registries.knows(name.registry):
            raise PullFailed(f"the registry {name.registry} is not set up on this node")
        stored = await self._puller.pull(name, credentials)
        try:
            os.close(await asyncio.to_thread(self.roots.use, stored))
        except (BadImage, OSError) as error:
            if isinstance(error, BadImage):  # it never will be one: do not take it for present
                await asyncio.to_thread(self._drop, stored.image_id)
            raise PullFailed(f"failed to unpack image {reference!r}: {error}") from None
        return _image(stored)

    async def prepare(self, reference: str) -> Prepared | None:
        """None: the container is to run on the host's own root. Raises PullFailed."""
        stored = self._find(reference, _parse(reference)) if reference else None
        if stored is None:
            return None
        try:
            lock = await asyncio.to_thread(self.roots.use, stored)
        except (BadImage, OSError) as error:
            raise PullFailed(f"failed to unpack image {reference!r}: {error}") from None
        return Prepared(
            root=self.roots.root(stored.image_id),
            lock_path=os.path.join(self.roots.path(stored.image_id), "lock"),
            lock=lock,
            reference=_image(stored).reference,
            config=stored.config,
        )

    async def list(self) -> list[Image]:
        return [_image(stored) for stored in self.store.images()]

    async def remove(self, image_id: str) -> None:
        """Raises InUse; then nothing was removed."""
        await asyncio.to_thread(self._remove, image_id)

    def _remove(self, image_id: str) -> None:
        self.roots.remove(image_id)
        self._drop(image_id)

    def _drop(self, image_id: str) -> None:
        """With what else nobody needs any more."""
        self.store.forget(image_id)
        self.store.collect()
        self.roots.sweep()

    async def in_use(self) -> set[str]:
        """Of all nodes that share the store: those that somebody runs on."""
        images = self.store.images()
        return {each.image_id for each in images if self.roots.is_used(each.image_id)}


def _parse(reference: str) -> Reference:
    try:
        return parse(reference.removeprefix("docker-pullable://"))
    except InvalidName as error:
        raise PullFailed(str(error)) from None


def _image(stored: StoredImage) -> Image:
    user = stored.config.user.partition(":")[0]
    number = int(user) if user.isdecimal() else None
    return Image(
        id=stored.image_id,
        tags=stored.tags,
        digests=stored.digests,
        size_bytes=stored.size_bytes,
        uid=0 if not user else number,
        username=user if number is None else "",
    )
