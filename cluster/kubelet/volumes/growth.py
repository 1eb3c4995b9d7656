"""Volumes that became larger: the node's part of it, and the claim told that it is done."""

from __future__ import annotations

import errno
import logging
from typing import Any

from cluster.client import Client
from cluster.kubelet.volumes.plugin import Placed, Plugin, Wanted
from cluster.machinery import quantity

log = logging.getLogger(__name__)

Object = dict[str, Any]

CLAIMS = "persistentvolumeclaims"
_DONE = ("Resizing", "FileSystemResizePending", "NodeResizeError")


def is_due(claim: Object, volume: Object) -> bool:
    """Whether the volume is larger than what its claim has been given so far."""
    has = ((claim.get("status") or {}).get("capacity") or {}).get("storage") or "0"
    return quantity.parse(volume["spec"]["capacity"]["storage"]) > quantity.parse(has)


async def follow(client: Client, plugin: Plugin, wanted: Wanted, placed: Placed) -> None:
    """Grow what stands here to what the PersistentVolume says, then say so on the claim.

    What cannot grow while it is used (EBUSY) grows before the next pod uses it: until then the
    claim says that its resize is pending.
    """
    claim, volume = wanted.claim, wanted.volume
    if claim is None or volume is None or wanted.read_only or not is_due(claim, volume):
        return
    try:
        await plugin.expand(wanted, placed)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        log.info("volume %s does not grow yet: %s", wanted.identity, error.strerror)
        return
    status = claim.get("status") or {}
    new: Object = {
        "capacity": {**(status.get("capacity") or {}), **volume["spec"]["capacity"]},
        "conditions": [c for c in status.get("conditions") or () if c["type"] not in _DONE],
        "allocatedResourceStatuses": None,
    }
    metadata = claim["metadata"]
    await client.patch(
        CLAIMS, metadata["name"], {"status": new}, metadata["namespace"], subresource="status"
    )
