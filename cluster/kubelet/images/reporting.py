"""What a Node's status tells of the images that are on it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.kubelet.runtimes.images import Image

_IMAGES_MAX = 50
_NAMES_MAX = 5
"""Upstream's bounds: Node objects are written often and read by many."""


def of_node(images: Iterable[Image]) -> list[dict[str, Any]]:
    """The largest first, each with its names."""
    largest = sorted(images, key=lambda each: (-each.size_bytes, each.id))[:_IMAGES_MAX]
    return [
        {"names": [*each.digests, *each.tags][:_NAMES_MAX], "sizeBytes": each.size_bytes}
        for each in largest
    ]
