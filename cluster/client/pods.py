"""Pods that nothing runs of any more."""

from __future__ import annotations

from typing import Any

from cluster.client.rest import Client
from cluster.machinery.status import ApiError


async def remove_now(client: Client, pod: dict[str, Any]) -> None:
    """Delete this very pod, without grace; done too if it is gone, or another one has its name.

    Raises ApiError.
    """
    metadata = pod["metadata"]
    name, namespace, uid = metadata["name"], metadata["namespace"], metadata["uid"]
    try:
        await client.delete("pods", name, namespace, grace_period_s=0, uid=uid)
    except ApiError as error:
        if error.code not in (404, 409):
            raise
