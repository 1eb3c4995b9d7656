"""Ephemeral volumes: the claims that pods bring with them, owned by their pods."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers import pods
from cluster.controllers.framework import Controller, Result, Watch
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

CLAIMS = "persistentvolumeclaims"


class EphemeralVolumeController(Controller):
    name = "ephemeral-volume"
    account = "ephemeral-volume-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch("pods", _that_need_claims), Watch(CLAIMS, _pod_of)]

    async def reconcile(self, key: str) -> Result | None:
        pod = self.informers.of("pods").get(key)
        if pod is None or pods.is_deleting(pod) or pods.is_terminated(pod):
            return None
        for claim in claims(pod):
            found = self.informers.of(CLAIMS).get(meta.key(claim))
            if found is None:
                await self._create(pod, claim)
            elif not _is_owned(found, pod):
                self._refuse(pod, claim)
        return None

    async def _create(self, pod: Object, claim: Object) -> None:
        try:
            await self.client.create(CLAIMS, claim)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
                if not _is_owned(await self.client.get(CLAIMS, name, namespace), pod):
                    self._refuse(pod, claim)
                return
            message = f"ephemeral volume {claim['metadata']['name']}: {error}"
            self.events.event(pod, "Warning", "FailedCreate", message)
            raise

    def _refuse(self, pod: Object, claim: Object) -> None:
        """Somebody else's claim has the name: the pod must not get its data."""
        name = claim["metadata"]["name"]
        message = f"PVC {name} was not created for pod {meta.key(pod)} (pod is not owner)"
        self.events.event(pod, "Warning", "FailedCreate", message)


def claims(pod: Object) -> list[Object]:
    """The claims of the pod's ephemeral volumes (pure)."""
    found = []
    for volume in pod["spec"].get("volumes") or ():
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if not template:
            continue
        given = template.get("metadata") or {}
        metadata = {
            "name": f"{pod['metadata']['name']}-{volume['name']}",
            "namespace": pod["metadata"]["namespace"],
            "labels": given.get("labels") or {},
            "annotations": given.get("annotations") or {},
            "ownerReferences": [meta.owner_reference(pod)],
        }
        spec = copy.deepcopy(template["spec"])
        head = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        found.append({**head, "metadata": metadata, "spec": spec})
    return found


def _that_need_claims(pod: Object) -> Iterable[str]:
    """Most pods have no such volume: they are not worth a place in the queue."""
    volumes = pod["spec"].get("volumes") or ()
    return [meta.key(pod)] if any(volume.get("ephemeral") for volume in volumes) else []


def _is_owned(claim: Object, pod: Object) -> bool:
    return bool((meta.controller_of(claim) or {}).get("uid") == pod["metadata"]["uid"])


def _pod_of(claim: Object) -> Iterable[str]:
    owner = meta.controller_of(claim)
    if owner is None or owner["kind"] != "Pod":
        return []
    return [f"{meta.namespace(claim)}/{owner['name']}"]
