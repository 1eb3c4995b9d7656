"""Fetching an image from its registry, or a mirror of it, into the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from actors.seams import Seams
from cluster.kubelet.images import documents
from cluster.kubelet.images.documents import BadImage, Descriptor
from cluster.kubelet.images.http import Unanswered
from cluster.kubelet.images.names import Reference
from cluster.kubelet.images.registry import RegistryError, RepositoryClient
from cluster.kubelet.images.settings import Registries
from cluster.kubelet.images.store import ImageStore, StoredImage
from cluster.kubelet.runtimes.images import Credentials, PullFailed

_AT_ONCE = 3
IMAGE_SIZE_BYTES_MAX = 64 << 30
"""Of its blobs as they come, by what the manifest says."""


class Puller:
    def __init__(
        self, seams: Seams, store: ImageStore, registries: Registries, architecture: str
    ) -> None:
        self._seams, self._store, self._registries = seams, store, registries
        self._architecture = architecture
        self._fetching: dict[str, asyncio.Lock] = {}

    async def pull(self, name: Reference, credentials: Credentials | None) -> StoredImage:
        """Raises PullFailed."""
        failures = []
        async for client in self._clients(name, credentials):
            try:
                return await self._pull_from(client, name)
            except (RegistryError, Unanswered, BadImage, OSError) as error:
                failures.append(str(error))
        raise PullFailed(f"failed to pull and unpack image {str(name)!r}: {'; '.join(failures)}")

    async def _clients(
        self, name: Reference, credentials: Credentials | None
    ) -> AsyncIterator[RepositoryClient]:
        """Mirrors first. They are others' servers: the registry's own password is not for them."""
        endpoints = self._registries.endpoints(name.registry)
        for at in endpoints[:-1]:
            yield RepositoryClient(self._seams, at, name, None)
        yield RepositoryClient(self._seams, endpoints[-1], name, credentials)

    async def _pull_from(self, client: RepositoryClient, name: Reference) -> StoredImage:
        top, data = await client.manifest(name.wanted)
        document = documents.decode(data)
        found, body = top, data
        if documents.is_index(document, top.media_type):
            chosen = documents.choose(documents.index(document), self._architecture)
            found, body = await client.manifest(chosen.digest)
            document = documents.decode(body)
        manifest = documents.manifest(document)
        if manifest.config.size_bytes > documents.DOCUMENT_SIZE_BYTES_MAX:
            raise BadImage("the image's config is too large")
        blobs = list({blob.digest: blob for blob in (manifest.config, *manifest.layers)}.values())
        if sum(blob.size_bytes for blob in blobs) > IMAGE_SIZE_BYTES_MAX:
            raise BadImage(f"the image has more than {IMAGE_SIZE_BYTES_MAX} bytes")
        self._store.create()
        await self._fetch(client, blobs)
        self._store.add(body)
        named = name.with_digest(name.digest or top.digest)
        return await asyncio.to_thread(self._store.name, found, [named])

    async def _fetch(self, client: RepositoryClient, blobs: list[Descriptor]) -> None:
        places = asyncio.Semaphore(_AT_ONCE)

        async def fetch(blob: Descriptor) -> None:
            lock = self._fetching.setdefault(blob.digest, asyncio.Lock())
            async with places, lock:
                if not self._store.has(blob.digest):
                    await client.fetch(blob, self._store)

        try:
            async with asyncio.TaskGroup() as group:
                for blob in blobs:
                    group.create_task(fetch(blob))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            for blob in blobs:
                lock = self._fetching.get(blob.digest)
                if lock is not None and not lock.locked():
                    del self._fetching[blob.digest]
