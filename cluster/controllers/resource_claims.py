"""Resource claims: those that pods bring with them are made, and those not needed are let go.

Keys are "pod:NAMESPACE/NAME" and "claim:NAMESPACE/NAME", as one concerns the other.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers import pods
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.removal import remove
from cluster.machinery import meta
from cluster.machinery.status import ApiError, not_found

Object = dict[str, Any]

CLAIMS = "resourceclaims.resource.k8s.io"
TEMPLATES = "resourceclaimtemplates.resource.k8s.io"
POD_CLAIM_NAME = "resource.kubernetes.io/pod-claim-name"
FINALIZER = "resource.kubernetes.io/delete-protection"
MAX_BASE_CHARS = 253 - 6
"""Of a generated name, before its suffix."""


class ResourceClaimController(Controller):
    name = "resourceclaim"
    account = "resource-claim-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = self.informers.indexed(CLAIMS, "owner", _owner_uid)

    def watches(self) -> Sequence[Watch]:
        return [
            Watch("pods", self._of_pod),
            Watch(CLAIMS, self._of_claim),
            Watch(TEMPLATES, self._of_template),
        ]

    def _of_pod(self, pod: Object) -> Iterable[str]:
        """The pod, and the claims that it may hold."""
        if not pod["spec"].get("resourceClaims"):
            return
        yield f"pod:{meta.key(pod)}"
        for name in claim_names(pod).values():
            yield f"claim:{meta.namespace(pod)}/{name}"
        for claim in self._claims.by_index("owner", pod["metadata"]["uid"]):
            yield f"claim:{meta.key(claim)}"

    def _of_claim(self, claim: Object) -> Iterable[str]:
        yield f"claim:{meta.key(claim)}"
        owner = meta.controller_of(claim)
        if owner is not None and owner["kind"] == "Pod":
            yield f"pod:{meta.namespace(claim)}/{owner['name']}"

    def _of_template(self, template: Object) -> Iterable[str]:
        """Pods may have waited for it."""
        namespace, name = meta.namespace(template), template["metadata"]["name"]
        for pod in self.informers.of("pods").list():
            wanted = pod["spec"].get("resourceClaims") or ()
            if meta.namespace(pod) == namespace and any(
                each.get("resourceClaimTemplateName") == name for each in wanted
            ):
                yield f"pod:{meta.key(pod)}"

    async def reconcile(self, key: str) -> Result | None:
        kind, _, name = key.partition(":")
        if kind == "pod":
            pod = self.informers.of("pods").get(name)
            if pod is not None and not pods.is_deleting(pod) and not pods.is_terminated(pod):
                await self._make(pod)
        else:
            claim = self._claims.get(name)
            if claim is not None:
                await self._let_go(claim)
        return None

    # -- claims of pods ----------------------------------------------------------------------

    async def _make(self, pod: Object) -> None:
        """Every claim that the pod's templates ask for, and the pod's status that names them."""
        made = {
            each["name"]: await self._made(pod, each)
            for each in pod["spec"].get("resourceClaims") or ()
            if each.get("resourceClaimTemplateName")
        }
        told = [{"name": name, "resourceClaimName": claim} for name, claim in made.items()]
        if told and told != ((pod.get("status") or {}).get("resourceClaimStatuses") or []):
            metadata = pod["metadata"]
            patch = {
                "metadata": {"uid": metadata["uid"]},
                "status": {"resourceClaimStatuses": told},
            }
            await self.client.patch(
                "pods", metadata["name"], patch, metadata["namespace"],
                kind="strategic", subresource="status",
            )  # fmt: skip

    async def _made(self, pod: Object, wanted: Object) -> str:
        """The name of the claim; it is found by its owner, whether the status tells it or not."""
        for claim in self._claims.by_index("owner", pod["metadata"]["uid"]):
            annotations = claim["metadata"].get("annotations") or {}
            if annotations.get(POD_CLAIM_NAME) == wanted["name"]:
                return str(claim["metadata"]["name"])
        namespace, template = meta.namespace(pod), wanted["resourceClaimTemplateName"]
        found = self.informers.of(TEMPLATES).get(f"{namespace}/{template}")
        try:
            if found is None:
                raise not_found(TEMPLATES, template)
            made = await self.client.create(CLAIMS, claim_of(pod, wanted["name"], found))
        except ApiError as error:
            message = f"PodResourceClaim {wanted['name']}: {error}"
            self.events.event(pod, "Warning", "FailedResourceClaimCreation", message)
            raise
        return str(made["metadata"]["name"])

    # -- claims that are not needed any more ---------------------------------------------------

    async def _let_go(self, claim: Object) -> None:
        held = (claim.get("status") or {}).get("reservedFor") or []
        staying = [each for each in held if not await self._is_done(claim, each)]
        deleting = bool(claim["metadata"].get("deletionTimestamp"))
        protected = FINALIZER in meta.finalizers(claim)
        allocated = bool((claim.get("status") or {}).get("allocation"))
        if staying != held or (not staying and deleting and allocated):
            claim = await self._release(claim, staying)
        if protected and not staying and not (claim.get("status") or {}).get("allocation"):
            claim = await self._unprotect(claim)
        if not staying and not deleting:
            await self._delete_of_done_pod(claim)

    async def _is_done(self, claim: Object, holder: Object) -> bool:
        """Whether a pod has no use for the claim any more; of others we know nothing."""
        if holder.get("resource") != "pods" or holder.get("apiGroup"):
            return False
        namespace, name = meta.namespace(claim), holder["name"]
        pod = self.informers.of("pods").get(f"{namespace}/{name}")
        if pod is None or pod["metadata"]["uid"] != holder["uid"]:
            pod = await self.client.find("pods", name, namespace)
        if pod is None:
            return True
        return pod["metadata"]["uid"] != holder["uid"] or pods.is_terminated(pod)

    async def _release(self, claim: Object, staying: list[Object]) -> Object:
        """Who is done holds it no more; what nobody holds is not allocated any more."""
        changed = copy.deepcopy(claim)
        status = changed.setdefault("status", {})
        status["reservedFor"] = staying
        if not staying:
            for part in ("reservedFor", "allocation", "devices"):
                status.pop(part, None)
        return await self.client.update(CLAIMS, changed, subresource="status")

    async def _unprotect(self, claim: Object) -> Object:
        changed = copy.deepcopy(claim)
        finalizers = changed["metadata"]["finalizers"]
        changed["metadata"]["finalizers"] = [f for f in finalizers if f != FINALIZER]
        return await self.client.update(CLAIMS, changed)

    async def _delete_of_done_pod(self, claim: Object) -> None:
        """Of a pod that has ended; if it is gone, the garbage collector does this."""
        owner = meta.controller_of(claim)
        if owner is None or owner["kind"] != "Pod":
            return
        pod = self.informers.of("pods").get(f"{meta.namespace(claim)}/{owner['name']}")
        if pod is None or pod["metadata"]["uid"] != owner["uid"] or not pods.is_terminated(pod):
            return
        await remove(self.client, CLAIMS, claim)


def claim_names(pod: Object) -> dict[str, str]:
    """The claims that a pod uses, by their names in the pod (pure)."""
    told = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    made = {each["name"]: each.get("resourceClaimName") for each in told}
    found = {}
    for each in pod["spec"].get("resourceClaims") or ():
        name = each.get("resourceClaimName") or made.get(each["name"])
        if name:
            found[each["name"]] = str(name)
    return found


def claim_of(pod: Object, name: str, template: Object) -> Object:
    """What a template makes for a pod (pure)."""
    given = template["spec"].get("metadata") or {}
    base = f"{pod['metadata']['name']}-{name}"[:MAX_BASE_CHARS]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "generateName": f"{base}-",
            "namespace": meta.namespace(pod),
            "labels": dict(given.get("labels") or {}),
            "annotations": {**(given.get("annotations") or {}), POD_CLAIM_NAME: name},
            "ownerReferences": [meta.owner_reference(pod)],
        },
        "spec": copy.deepcopy(template["spec"].get("spec") or {}),
    }


def _owner_uid(claim: Object) -> Iterable[str]:
    owner = meta.controller_of(claim)
    return [owner["uid"]] if owner is not None else []
