"""Deleting what a controller has seen: that very object, whoever was quicker."""

from __future__ import annotations

from typing import Any

from cluster.client import Client
from cluster.machinery.status import ApiError


async def remove(client: Client, resource: str, obj: dict[str, Any]) -> None:
    """Delete the object, unless it is gone already. Raises ApiError (409: another has its name)."""
    metadata = obj["metadata"]
    try:
        await client.delete(resource, metadata["name"], metadata["namespace"], uid=metadata["uid"])
    except ApiError as error:
        if error.code != 404:
            raise
