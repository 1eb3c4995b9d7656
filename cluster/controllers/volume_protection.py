"""Protection of claims and volumes: what is in use is deleted only when it is not any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers import pods
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import meta

Object = dict[str, Any]

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"


class ClaimProtection(Controller):
    """A claim has the finalizer until no pod uses it that has not ended."""

    name = "persistentvolumeclaim-protection"
    account = "pvc-protection-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pods = self.informers.indexed("pods", "claim", claims_of)

    def watches(self) -> Sequence[Watch]:
        return [Watch(CLAIMS), Watch("pods", claims_of)]

    async def reconcile(self, key: str) -> Result | None:
        claim = self.informers.of(CLAIMS).get(key)
        if claim is None:
            return None
        used = any(map(_uses, self._pods.by_index("claim", key)))
        if pods.is_deleting(claim) and not used:
            # The cache may not show a pod yet that was made a moment ago.
            namespace = meta.namespace(claim)
            every = (await self.client.list("pods", namespace))["items"]
            used = any(_uses(pod) and key in claims_of(pod) for pod in every)
        await _keep(self, CLAIMS, claim, CLAIM_FINALIZER, used)
        return None


class VolumeProtection(Controller):
    """A volume has the finalizer while it is bound."""

    name = "persistentvolume-protection"
    account = "pv-protection-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch(VOLUMES)]

    async def reconcile(self, key: str) -> Result | None:
        volume = self.informers.of(VOLUMES).get(key)
        if volume is not None:
            bound = (volume.get("status") or {}).get("phase") == "Bound"
            await _keep(self, VOLUMES, volume, VOLUME_FINALIZER, bound)
        return None


async def _keep(
    controller: Controller, resource: str, obj: Object, finalizer: str, used: bool
) -> None:
    """Add the finalizer to what lives; take it off what is being deleted and not in use."""
    present: list[str] = obj["metadata"].get("finalizers") or []
    if pods.is_deleting(obj) and not used and finalizer in present:
        wanted = [each for each in present if each != finalizer]
    elif not pods.is_deleting(obj) and finalizer not in present:
        wanted = [*present, finalizer]
    else:
        return
    metadata = {**obj["metadata"], "finalizers": wanted}
    await controller.client.update(resource, {**obj, "metadata": metadata})


def claims_of(pod: Object) -> Iterable[str]:
    """Keys of the claims that the pod's volumes name; ephemeral ones are named after the pod."""
    metadata = pod["metadata"]
    names = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            names.append(volume["persistentVolumeClaim"]["claimName"])
        elif volume.get("ephemeral"):
            names.append(f"{metadata['name']}-{volume['name']}")
    return [f"{metadata['namespace']}/{name}" for name in names]


def _uses(pod: Object) -> bool:
    """A pod that has no node yet and is being deleted will never use anything."""
    waits = pods.is_deleting(pod) and not pods.node_name(pod)
    return not pods.is_terminated(pod) and not waits
