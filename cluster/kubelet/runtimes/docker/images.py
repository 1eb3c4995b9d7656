"""The images of a Docker daemon: `images.ImageService` over the Engine API."""

from __future__ import annotations

import json
from dataclasses import replace

from cluster.kubelet.runtimes.docker import messages
from cluster.kubelet.runtimes.docker.engine import Engine, EngineError
from cluster.kubelet.runtimes.images import Credentials, Image, PullFailed


class DockerImages:
    def __init__(self, engine: Engine, pinned: str = "") -> None:
        """`pinned`: the name of an image that stays, whether or not a container uses it."""
        self._engine, self._pinned = engine, pinned

    async def find(self, reference: str) -> Image | None:
        try:
            return messages.image(await self._engine.call("GET", f"/images/{reference}/json"))
        except EngineError as error:
            if error.is_unknown_id:
                return None
            raise PullFailed(error.message) from error

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        query = {"fromImage": tagged(reference)}
        headers = {"X-Registry-Auth": messages.auth(credentials)} if credentials else {}
        last = b""
        try:
            async with self._engine.open("POST", "/images/create", query, None, headers) as answer:
                async for piece in answer.pieces():
                    *lines, last = (last + piece).split(b"\n")
                    for line in lines:
                        _check(line)
        except EngineError as error:
            raise PullFailed(error.message) from error
        _check(last)
        found = await self.find(reference)
        if found is None:
            raise PullFailed(f"image {reference} was pulled and is not here")
        return found

    async def list(self) -> list[Image]:
        found = await self._engine.call("GET", "/images/json")
        return [self._marked(messages.image(each)) for each in found]

    def _marked(self, image: Image) -> Image:
        return replace(image, pinned=self._pinned in (*image.tags, *image.digests))

    async def remove(self, image_id: str) -> None:
        try:
            await self._engine.call("DELETE", f"/images/{image_id}", {"force": "true"})
        except EngineError as error:
            if not error.is_unknown_id:
                raise

    async def in_use(self) -> set[str]:
        found = await self._engine.call("GET", "/containers/json", {"all": "true"})
        return {each["ImageID"] for each in found}


def tagged(reference: str) -> str:
    """Without a tag and without a digest the daemon would fetch all tags."""
    last = reference.rpartition("/")[2]
    return reference if "@" in reference or ":" in last else f"{reference}:latest"


def _check(line: bytes) -> None:
    """Errors come in the middle of what is told about progress. Raises PullFailed."""
    told = json.loads(line) if line.strip() else {}
    if "error" in told:
        raise PullFailed(str(told["error"]))
