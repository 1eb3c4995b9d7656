"""RuntimeClasses: which handler of the runtime a pod wants."""

from __future__ import annotations

from typing import Any

from cluster.client import Client
from cluster.kubelet.runtimes.base import SandboxFailure
from cluster.machinery.status import ApiError

Object = dict[str, Any]


async def handler(client: Client, pod: Object) -> str:
    """ "" for the runtime's own. Raises SandboxFailure if there is no such RuntimeClass."""
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return ""
    try:
        found = await client.get("runtimeclasses.node.k8s.io", name)
    except ApiError as error:
        if error.code != 404:
            raise
        raise SandboxFailure(f'RuntimeClass "{name}" not found') from None
    return str(found["handler"])
