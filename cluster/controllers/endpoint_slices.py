"""What the controllers of EndpointSlices share: whose slices are whose, and writing them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cluster.client import Client
from cluster.controllers.removal import remove
from cluster.controllers.services import is_ending
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

SLICES = "endpointslices.discovery.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


def keys_of_slice(manager: str) -> Callable[[Object], Iterable[str]]:
    """The Service of a slice that this manager keeps."""

    def keys(item: Object) -> Iterable[str]:
        labels = item["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) != manager or SERVICE_NAME not in labels:
            return []
        return [f"{meta.namespace(item)}/{labels[SERVICE_NAME]}"]

    return keys


def name(owner: Object, text: str) -> str:
    """Of a slice; the same text gives the same name, so none is ever made twice."""
    digest = hashlib.sha256(f"{owner['metadata']['uid']} {text}".encode()).digest()
    suffix = "".join("bcdfghjklmnpqrstvwxz2456789"[byte % 27] for byte in digest[:5])
    return f"{owner['metadata']['name'][:240]}-{suffix}"


async def replace(client: Client, wanted: Sequence[Object], current: Iterable[Object]) -> None:
    """Make the slices of one Service what they should be."""
    left = {item["metadata"]["name"]: item for item in current}
    for new in wanted:
        await _write(client, new, left.pop(new["metadata"]["name"], None))
    for old in left.values():
        await remove(client, SLICES, old)


async def _write(client: Client, new: Object, current: Object | None) -> None:
    if current is None:
        try:
            await client.create(SLICES, new)
        except ApiError as error:
            if not is_ending(error):
                raise
    elif _content(current) != _content(new):
        changed = copy.deepcopy(current) | {part: new[part] for part in ("endpoints", "ports")}
        changed["metadata"]["labels"] = new["metadata"]["labels"]
        await client.update(SLICES, changed)


def _content(item: Object) -> Object:
    labels = item["metadata"].get("labels")
    return {"labels": labels, **{part: item.get(part) or [] for part in ("endpoints", "ports")}}
