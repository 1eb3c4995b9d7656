"""The images of a node, as the kubelet sees them: whatever holds and unpacks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class PullFailed(Exception):
    """The image could not be had; the message is for events and statuses."""


@dataclass(frozen=True)
class Image:
    """An image that is here. `id` names it on this node, for good."""

    id: str
    tags: Sequence[str] = ()
    """Names with tags, in full (docker.io/library/busybox:1)."""
    digests: Sequence[str] = ()
    """Names with digests (docker.io/library/busybox@sha256:...)."""
    size_bytes: int = 0
    uid: int | None = None
    """Of its user, where that is a number."""
    username: str = ""
    pinned: bool = False
    """Not to be removed to gain room."""

    @property
    def reference(self) -> str:
        """What a container's status tells as imageID."""
        return self.digests[0] if self.digests else self.id


HOST_IMAGE = Image("host://rootfs")
"""What stands for an image that is not here where containers may run on the host's own files."""


@dataclass(frozen=True)
class Credentials:
    """For a registry: a name and password, or a token. Never shown."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


class ImageService(Protocol):
    """References are what pods name: with tag, with digest or with neither (then `latest`)."""

    async def find(self, reference: str) -> Image | None:
        """The image, if it is here. Raises PullFailed for what cannot be a reference."""
        ...

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        """Fetch it from its registry. Raises PullFailed."""
        ...

    async def list(self) -> list[Image]: ...

    async def remove(self, image_id: str) -> None:
        """With all its names. Containers that run on it go on."""
        ...

    async def in_use(self) -> set[str]:
        """Ids of the images of all containers that are here, ended ones too."""
        ...
