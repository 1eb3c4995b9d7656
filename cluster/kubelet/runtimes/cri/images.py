"""The images of a container manager: `images.ImageService` over CRI."""

from __future__ import annotations

from dataclasses import replace

from cluster.kubelet.runtimes.cri import messages
from cluster.kubelet.runtimes.cri import protocol_pb2 as pb
from cluster.kubelet.runtimes.cri.client import PULL_TIMEOUT_S, CriClient, CriError
from cluster.kubelet.runtimes.images import Credentials, Image, PullFailed


class CriImages:
    """Other nodes of the machine may have the same images: they share what is pulled."""

    def __init__(self, client: CriClient) -> None:
        self._client = client
        self.pinned = ""
        """The name of an image that stays, whether or not a container uses it."""

    async def find(self, reference: str) -> Image | None:
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=reference))
        try:
            answer = await self._client.images("ImageStatus", request)
        except CriError as error:
            raise PullFailed(error.message) from error
        return messages.image(answer.image) if answer.image.id else None

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        request = pb.PullImageRequest(image=pb.ImageSpec(image=reference))
        if credentials is not None:
            request.auth.CopyFrom(messages.auth(credentials))
        try:
            answer = await self._client.images("PullImage", request, PULL_TIMEOUT_S)
        except CriError as error:
            raise PullFailed(error.message) from error
        found = await self.find(answer.image_ref)
        if found is None:
            raise PullFailed(f"image {reference} was pulled and is not here")
        return found

    async def list(self) -> list[Image]:
        answer = await self._client.images("ListImages", pb.ListImagesRequest())
        return [self._marked(messages.image(each)) for each in answer.images]

    def _marked(self, image: Image) -> Image:
        return replace(image, pinned=image.pinned or self.pinned in (*image.tags, *image.digests))

    async def remove(self, image_id: str) -> None:
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=image_id))
        await self._client.images("RemoveImage", request)

    async def in_use(self) -> set[str]:
        """Of all nodes that share the container manager."""
        answer = await self._client.runtime("ListContainers", pb.ListContainersRequest())
        return {name for c in answer.containers for name in (c.image.image, c.image_ref)}
