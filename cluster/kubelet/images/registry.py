"""Reading from a registry: the OCI distribution specification, "Pull"."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO
from urllib.parse import urlsplit

from actors.seams import Seams
from cluster.kubelet.images import challenge, documents, http
from cluster.kubelet.images.documents import Descriptor
from cluster.kubelet.images.http import Answer, Unanswered
from cluster.kubelet.images.names import Reference, is_digest
from cluster.kubelet.images.settings import Endpoint
from cluster.kubelet.images.store import ImageStore
from cluster.kubelet.runtimes.images import Credentials

_ACCEPT = ", ".join([*documents.INDEXES, *documents.MANIFESTS])
_ERROR_SIZE_BYTES_MAX = 64 << 10
_TOKEN_SIZE_BYTES_MAX = 1 << 20
_TRIES = 5
_LOCKED_S = 0.2


class RegistryError(Exception):
    """The registry does not give it."""


class RepositoryClient:
    """One repository at one endpoint, as one user; tokens are kept for its life."""

    def __init__(
        self, seams: Seams, at: Endpoint, name: Reference, credentials: Credentials | None
    ) -> None:
        self._seams, self._at, self._name = seams, at, name
        self._credentials = credentials
        self._authorization = ""
        if credentials is not None and credentials.registry_token:
            self._authorization = f"Bearer {credentials.registry_token}"

    async def manifest(self, wanted: str) -> tuple[Descriptor, bytes]:
        """By tag or digest. Raises RegistryError; what is not of its digest is refused."""
        target = f"{self._base}/manifests/{wanted}"
        async with self._get(target, {"accept": _ACCEPT}) as answer:
            data = await answer.body(documents.DOCUMENT_SIZE_BYTES_MAX)
            kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        digest = documents.digest_of(data)
        if is_digest(wanted) and digest != wanted:
            raise RegistryError(f"the manifest {wanted} came with digest {digest}")
        return Descriptor(digest, len(data), kind), data

    async def fetch(self, blob: Descriptor, store: ImageStore) -> None:
        """Into the store. A download that broke off goes on where it was, now or another day.

        Raises RegistryError, BadImage.
        """
        with await self._part(store.part_path(blob.digest)) as part:
            if store.has(blob.digest):  # another node of this machine was quicker
                os.unlink(part.name)
                return
            for left in reversed(range(_TRIES)):
                try:
                    await self._append(blob, part)
                    break
                except Unanswered as error:
                    if not left:
                        raise RegistryError(f"blob {blob.digest}: {error}") from None
            await asyncio.to_thread(store.finish_part, blob)

    async def _part(self, path: str) -> BinaryIO:
        """The file to append to, locked: nodes of one machine share the store."""
        while True:
            part = _locked(path)
            if part is not None:
                return part
            await self._seams.clock.sleep(_LOCKED_S)

    async def _append(self, blob: Descriptor, part: BinaryIO) -> None:
        have = part.seek(0, os.SEEK_END)
        if have >= blob.size_bytes:
            return
        headers = {"range": f"bytes={have}-"} if have else {}
        async with self._get(f"{self._base}/blobs/{blob.digest}", headers) as answer:
            if answer.status == 200 and have:  # it does not know Range
                have = part.truncate(0)
            async for chunk in answer.chunks():
                have += len(chunk)
                if have > blob.size_bytes:
                    part.truncate(0)
                    raise RegistryError(f"blob {blob.digest} is longer than announced")
                part.write(chunk)
        part.flush()
        if have < blob.size_bytes:
            raise Unanswered("the blob is shorter than announced")

    @property
    def _base(self) -> str:
        return f"{self._at.path}/v2/{self._name.repository}"

    @contextlib.asynccontextmanager
    async def _get(self, target: str, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """A good answer. A registry that wants to know who asks is told, once."""
        for is_last in (False, True):
            sent = dict(headers)
            if self._authorization:
                sent["authorization"] = self._authorization
            async with http.get(self._seams.network, self._at, target, sent) as answer:
                if answer.status in (200, 206):
                    yield answer
                    return
                if answer.status == 401 and not is_last and not answer.redirected:
                    asked = challenge.parse(answer.headers.get("www-authenticate", ""))
                else:
                    raise await self._error(answer)
            self._authorization = await self._answer(asked)

    async def _answer(self, asked: challenge.Challenge) -> str:
        known = self._credentials
        if asked.scheme == "basic" and known is not None:
            return challenge.basic(known)
        if asked.scheme != "bearer":
            raise self._denied("no basic auth credentials")
        try:
            url = challenge.token_url(asked, f"repository:{self._name.repository}:pull")
            return "Bearer " + challenge.token(await self._token(url))
        except ValueError as error:
            raise RegistryError(f"failed to fetch a token: {error}") from None

    async def _token(self, url: str) -> bytes:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        if self._at.tls and not tls and self._credentials is not None:
            raise ValueError("the registry wants the password sent in plain text")
        port = parts.port or (443 if tls else 80)
        at = Endpoint(parts.hostname or "", port, tls, self._at.insecure, self._at.ca)
        headers = {"accept": "application/json"}
        if self._credentials is not None and self._credentials.username:
            headers["authorization"] = challenge.basic(self._credentials)
        async with http.get(
            self._seams.network, at, f"{parts.path or '/'}?{parts.query}", headers
        ) as got:
            if got.status != 200:
                raise await self._error(got)
            return await got.body(_TOKEN_SIZE_BYTES_MAX)

    async def _error(self, answer: Answer) -> RegistryError:
        """In the words of upstream's runtimes, which users know and tools look for."""
        with contextlib.suppress(Unanswered):
            await answer.body(_ERROR_SIZE_BYTES_MAX)
        if answer.status == 404:
            return RegistryError(f"{self._name}: not found")
        if answer.status in (401, 403):
            return self._denied(f"the registry answered {answer.status}")
        return RegistryError(f"{self._at.authority} answered {answer.status}")

    def _denied(self, why: str) -> RegistryError:
        what = "pull access denied, repository does not exist or may require authorization"
        return RegistryError(f"{what}: {self._name.name}: {why}")


def _locked(path: str) -> BinaryIO | None:
    """None while somebody else has it, or has just completed it."""
    part: BinaryIO = open(path, "ab")  # noqa: SIM115  # the caller closes it
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(part.fileno()), os.stat(path)):
            return part
    except (BlockingIOError, FileNotFoundError):
        pass
    part.close()
    return None
