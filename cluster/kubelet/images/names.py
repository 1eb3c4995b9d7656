"""Names of images, as pods and registries write them. Pure.

The grammar is that of the distribution project's `reference` package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

DEFAULT_REGISTRY = "docker.io"
_OFFICIAL = "library/"
_NAME_SIZE_MAX = 255

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class InvalidName(ValueError):
    """What cannot be the name of an image."""


@dataclass(frozen=True)
class Reference:
    """An image at a registry: by `tag`, by `digest` ("sha256:HEX"), or by both: the digest wins."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Without tag and digest: docker.io/library/busybox."""
        return f"{self.registry}/{self.repository}"

    @property
    def tagged(self) -> str:
        return f"{self.name}:{self.tag}" if self.tag else ""

    @property
    def wanted(self) -> str:
        """What to ask the registry for."""
        return self.digest or self.tag

    def with_digest(self, digest: str) -> Reference:
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """With the defaults filled in: `busybox` is docker.io/library/busybox:latest.

    Raises InvalidName.
    """
    head, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise InvalidName(f"{text!r}: the digest must be sha256: and 64 hexadecimal digits")
    registry, path = _split_registry(head)
    repository, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidName(f"{text!r}: invalid tag")
    if not _REPOSITORY.fullmatch(repository):
        raise InvalidName(f"{text!r}: invalid repository name (lower case, digits and . _ - only)")
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = _OFFICIAL + repository
    if len(registry) + 1 + len(repository) > _NAME_SIZE_MAX:
        raise InvalidName(f"the name is longer than {_NAME_SIZE_MAX} characters")
    return Reference(registry, repository, tag or ("" if digest else "latest"), digest)


def _split_registry(head: str) -> tuple[str, str]:
    """The first part is a host if it looks like one: a dot, a port, or localhost."""
    first, slash, rest = head.partition("/")
    is_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if not slash or not is_host:
        return DEFAULT_REGISTRY, head
    if not _REGISTRY.fullmatch(first):
        raise InvalidName(f"{head!r}: invalid registry {first!r}")
    return (DEFAULT_REGISTRY if first in ("index.docker.io", "docker.io") else first), rest


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None
