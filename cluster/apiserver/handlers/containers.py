"""Where a pod's containers are: which one is meant, and which kubelet has it."""

from __future__ import annotations

from typing import Any

from cluster.apiserver.context import Call
from cluster.machinery import status
from cluster.machinery.codec import json_codec

KUBELET_PORT = 10250
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
Object = dict[str, Any]


def choose_container(pod: Object, asked: str) -> str:
    """The container that is meant; 400 in upstream's words if it is unclear or unknown."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    main = [c["name"] for c in spec.get("containers") or ()]
    initial = [c["name"] for c in spec.get("initContainers") or ()]
    ephemeral = [c["name"] for c in spec.get("ephemeralContainers") or ()]
    if asked:
        if asked not in main + initial + ephemeral:
            raise status.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) == 1:
        return str(main[0])
    preferred = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    if preferred in main:
        return str(preferred)
    shown = f"choose one of: [{' '.join(main)}]"
    if initial:
        shown += f" or one of the init containers: [{' '.join(initial)}]"
    if ephemeral:
        shown += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    text = f"a container name must be specified for pod {name}, {shown}"
    raise status.bad_request(text)


async def kubelet_of(call: Call, node: str) -> tuple[str, int]:
    """(host, port) where the node's kubelet listens."""
    nodes = call.context.find("v1/nodes").registry
    state = json_codec.decode(await nodes.get("", node)).get("status") or {}
    addresses = {a["type"]: a["address"] for a in reversed(state.get("addresses") or [])}
    host = addresses.get("InternalIP") or addresses.get("Hostname")
    if not host:
        raise status.internal_error(f"no address of node {node} is known")
    endpoint = (state.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    return str(host), int(endpoint.get("Port") or KUBELET_PORT)
