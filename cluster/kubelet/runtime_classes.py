"""RuntimeClasses: which handler of the runtime a pod wants."""

from __future__ import annotations

from typing import Any

from cluster.client import Client
from cluster.kubelet.runtimes.base import SandboxFailure

Object = dict[str, Any]


async def handler(client: Client, pod: Object) -> str:
    """ "" for the runtime's own. Raises SandboxFailure if there is no such RuntimeClass."""
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return ""
    found = await client.find("runtimeclasses.node.k8s.io", name)
    if found is None:
        raise SandboxFailure(f'RuntimeClass "{name}" not found')
    return str(found["handler"])
