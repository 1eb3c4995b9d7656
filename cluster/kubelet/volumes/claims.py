"""From a pod's volume to its claim and PersistentVolume, and whether the pod may use them here."""

from __future__ import annotations

from typing import Any

from cluster.client import Client
from cluster.kubelet.volumes.plugin import NotReady
from cluster.machinery import meta, node_selector
from cluster.machinery.status import ApiError

Object = dict[str, Any]

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
SINGLE_POD = "ReadWriteOncePod"
_BIND_COMPLETED = "pv.kubernetes.io/bind-completed"


def claim_name(pod: Object, volume: Object) -> str:
    """Of the claim that the volume stands for; "" for other volumes."""
    if volume.get("persistentVolumeClaim"):
        return str(volume["persistentVolumeClaim"]["claimName"])
    if volume.get("ephemeral"):
        return f"{pod['metadata']['name']}-{volume['name']}"
    return ""


async def find(client: Client, pod: Object, volume: Object) -> tuple[Object, Object]:
    """(claim, PersistentVolume), each as the API has it now. Raises NotReady."""
    name, namespace = claim_name(pod, volume), pod["metadata"]["namespace"]
    claim = await _get(client, CLAIMS, name, namespace)
    if claim is None:
        raise NotReady(f'persistentvolumeclaim "{name}" not found')
    if volume.get("ephemeral"):
        owner = meta.controller_of(claim) or {}
        if owner.get("uid") != pod["metadata"]["uid"]:
            raise NotReady(f'PVC "{namespace}/{name}" was not created for this pod')
    if claim["metadata"].get("deletionTimestamp"):
        raise NotReady(f'persistentvolumeclaim "{name}" is being deleted')
    chosen = claim["spec"].get("volumeName")
    marks = claim["metadata"].get("annotations") or {}
    if not chosen or _BIND_COMPLETED not in marks:
        raise NotReady(f'persistentvolumeclaim "{name}" is not bound')
    found = await _get(client, VOLUMES, chosen)
    if found is None:
        raise NotReady(f'persistentvolume "{chosen}" not found')
    if (found["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
        raise NotReady(f'persistentvolume "{chosen}" is not bound to this claim')
    return claim, found


async def _get(client: Client, resource: str, name: str, namespace: str = "") -> Object | None:
    try:
        found: Object = await client.get(resource, name, namespace)
        return found
    except ApiError as error:
        if error.code in (403, 404):  # a node may not know of what nothing of it is related to
            return None
        raise


def check_node(volume: Object, node: Object) -> None:
    """Raises NotReady where the volume cannot be reached from this node."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    if required is not None and not node_selector.any_term(
        required.get("nodeSelectorTerms") or (), node
    ):
        name = volume["metadata"]["name"]
        raise NotReady(f"volume node affinity conflict: {name} cannot be used on this node")
