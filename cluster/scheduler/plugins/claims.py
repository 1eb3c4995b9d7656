"""PersistentVolumeClaims of a pod, and what is known of their volumes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.machinery import meta
from cluster.machinery.volume_matching import class_of
from cluster.scheduler.columns import Mask, View
from cluster.scheduler.columns.catalog import Catalog
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.node_selector import any_term

Object = dict[str, Any]

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
CLASSES = "storageclasses.storage.k8s.io"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


def marks_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def is_bound(claim: Object) -> bool:
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in marks_of(claim)


def waits_for_consumer(claim: Object, catalog: Catalog) -> bool:
    """A claim with a volume that a user chose is bound at once, whatever its class says."""
    storage_class = catalog.get(CLASSES, class_of(claim)) or {}
    late = storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
    return late and not claim["spec"].get("volumeName")


def missing(pod: PodInfo, catalog: Catalog) -> str:
    """Why the pod's claims cannot be used at all; "" if they can."""
    for key in pod.claims:
        name = key.partition("/")[2]
        claim = catalog.get(CLAIMS, key)
        if claim is None:
            if name in _ephemeral(pod):
                what = f'create the persistentvolumeclaim "{name}"'
                return f"waiting for ephemeral volume controller to {what}"
            return f'persistentvolumeclaim "{name}" not found'
        if (claim.get("status") or {}).get("phase") == "Lost":
            volume = claim["spec"].get("volumeName")
            gone = f'non-existent persistentvolume "{volume}"'
            return f'persistentvolumeclaim "{name}" bound to {gone}'
        if claim["metadata"].get("deletionTimestamp"):
            return f'persistentvolumeclaim "{name}" is being deleted'
        if name in _ephemeral(pod) and (meta.controller_of(claim) or {}).get("uid") != pod.uid:
            return f'PVC "{key}" was not created for pod "{pod.key}" (pod is not owner)'
    return ""


def _ephemeral(pod: PodInfo) -> set[str]:
    volumes = pod.spec.get("volumes") or ()
    return {f"{pod.name}-{volume['name']}" for volume in volumes if "ephemeral" in volume}


def claims_of(pod: PodInfo, catalog: Catalog) -> Iterable[Object]:
    """Those that exist."""
    for key in pod.claims:
        claim = catalog.get(CLAIMS, key)
        if claim is not None:
            yield claim


def reachable(view: View, volume: Object) -> Mask:
    """Nodes that the volume's node affinity allows."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    if required is None:
        return view.all()
    return any_term(view, required.get("nodeSelectorTerms") or ())
