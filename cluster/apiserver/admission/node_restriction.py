"""NodeRestriction: a node writes its own Node, its own pods' status, and its own leases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.apiserver.admission.node_audiences import NodeAudiences
from cluster.apiserver.authz.attributes import Authorizer
from cluster.apiserver.authz.node import LEASE_NAMESPACE, node_of
from cluster.apiserver.lookup import Lookup
from cluster.machinery import status

Object = dict[str, Any]

MIRROR = "kubernetes.io/config.mirror"
REFERENCES = {
    "secret": "secrets", "configMap": "configmaps", "persistentVolumeClaim":
    "persistentvolumeclaims", "serviceAccountToken": "a service account",
}  # fmt: skip
ENV_REFERENCES = {
    "secretKeyRef": "secrets", "configMapKeyRef": "configmaps",
    "secretRef": "secrets", "configMapRef": "configmaps",
}  # fmt: skip
UNSEEN = ("managedFields", "resourceVersion")
GROWTH = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")
OWN_PREFIX = "node-restriction.kubernetes.io/"
ALLOWED_PREFIXES = ("kubelet.kubernetes.io/", "node.kubernetes.io/")
ALLOWED_LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch",
        "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
    }
)  # fmt: skip


class NodeRestriction:
    """An admission plugin; it says nothing about users that are no nodes."""

    def __init__(self, lookup: Lookup, authorizer: Authorizer) -> None:
        self._lookup, self._audiences = lookup, NodeAudiences(lookup, authorizer)

    async def __call__(self, review: Review) -> None:
        if not review.user.name.startswith("system:node:"):
            return
        node = node_of(review.user)
        if not node:
            return
        checks: Mapping[str, Callable[[Review, str], Awaitable[None]]] = {
            "/pods": self._pod,
            "/nodes": _node,
            "/persistentvolumeclaims": _claim,
            "/serviceaccounts": self._token,
            "coordination.k8s.io/leases": _lease,
            "storage.k8s.io/csinodes": _own_name,
            "resource.k8s.io/resourceslices": _slice,
        }
        check = checks.get(f"{review.resource.group}/{review.resource.plural}")
        if check is not None:
            await check(review, node)

    async def _pod(self, review: Review, node: str) -> None:
        if review.subresource == "eviction" or review.operation == "delete":
            await self._own_pod(review, node, review.name)
        elif review.operation == "create" and not review.subresource:
            await self._mirror_pod(review, node)
        elif review.subresource in ("status", "resize"):
            await self._own_pod(review, node, review.name)
            if review.subresource == "status":
                _same_labels(review, node)
        else:
            what = f"pods/{review.subresource}" if review.subresource else "pods"
            _refuse(review, f'unexpected operation "{review.operation}" on {what}, node "{node}"')

    async def _own_pod(self, review: Review, node: str, name: str) -> None:
        pod = review.old or await self._find_pod(review.namespace, name)
        if pod is not None and (pod.get("spec") or {}).get("nodeName") != node:
            verb = {"update": "update status for"}.get(review.operation, review.operation)
            _refuse(review, f'node "{node}" can only {verb} pods with spec.nodeName set to itself')

    async def _find_pod(self, namespace: str, name: str) -> Object | None:
        return await self._lookup.find("v1/pods", namespace, name)

    async def _mirror_pod(self, review: Review, node: str) -> None:
        _mirrors(review, node)
        for owner in ((review.new or {}).get("metadata") or {}).get("ownerReferences") or ():
            found = await self._lookup.find("v1/nodes", "", node)
            if found is None:
                raise status.not_found("nodes", node)
            uid = found["metadata"]["uid"]
            if owner.get("uid") != uid:
                got = owner.get("uid")
                _refuse(review, f"node {node} UID mismatch: expected {got} got {uid}")

    async def _token(self, review: Review, node: str) -> None:
        if review.subresource != "token" or review.new is None:
            return
        ref = (review.new.get("spec") or {}).get("boundObjectRef") or {}
        if (ref.get("kind"), ref.get("apiVersion")) != ("Pod", "v1") or not ref.get("name"):
            _refuse(review, f'node "{node}" requested token not bound to a pod')
        if not ref.get("uid"):
            _refuse(review, f'node "{node}" requested token with a pod binding without a uid')
        pod = await self._find_pod(review.namespace, str(ref["name"]))
        if pod is None:
            raise status.not_found("pods", str(ref["name"]))
        if pod["metadata"]["uid"] != ref["uid"]:
            text = f"the UID in the bound object reference ({ref['uid']}) does not match the pod's"
            raise status.conflict("pods", str(ref["name"]), text)
        if pod["spec"].get("nodeName") != node:
            _refuse(review, f'node "{node}" requested token bound to a pod scheduled elsewhere')
        await self._audiences.check(review, pod)


def _refuse(review: Review, text: str) -> None:
    raise status.forbidden(review.resource, review.name, text)


def _mirrors(review: Review, node: str) -> None:
    """A node creates pods only to show what it runs on its own account."""
    pod = review.new or {}
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    if MIRROR not in (metadata.get("annotations") or {}):
        name = metadata.get("name", "")
        _refuse(
            review,
            f'pod does not have "{MIRROR}" annotation, '
            f'node "{node}" can only create mirror pods: {name}',
        )
    if spec.get("nodeName") != node:
        _refuse(review, f'node "{node}" can only create pods with spec.nodeName set to itself')
    _check_owners(review, node, metadata.get("ownerReferences") or [])
    if spec.get("serviceAccountName"):
        _refuse(review, f'node "{node}" can not create pods that reference a service account')
    for what in _references(spec):
        _refuse(review, f'node "{node}" can not create pods that reference {what}')


def _check_owners(review: Review, node: str, owners: list[Object]) -> None:
    only = f'node "{node}" can only create pods with'
    if len(owners) > 1:
        _refuse(review, f"{only} a single owner reference set to itself")
    for owner in owners:
        if [owner.get(part) for part in ("apiVersion", "kind", "name")] != ["v1", "Node", node]:
            _refuse(review, f"{only} an owner reference set to itself")
        if not owner.get("controller"):
            _refuse(review, f"{only} a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            _refuse(review, f'node "{node}" must not set blockOwnerDeletion on an owner reference')


def _references(spec: Object) -> list[str]:
    """What of the API the pod would read, in plural."""
    found = {"resourceclaims"} if spec.get("resourceClaims") else set()
    for volume in spec.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            found |= {name for part, name in REFERENCES.items() if source.get(part)}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    for container in containers:
        values = [each.get("valueFrom") or {} for each in container.get("env") or ()]
        for each in [*values, *(container.get("envFrom") or ())]:
            found |= {name for part, name in ENV_REFERENCES.items() if each.get(part)}
    return sorted(found) + (["secrets"] if spec.get("imagePullSecrets") else [])


def _same_labels(review: Review, node: str) -> None:
    new, old = review.new or {}, review.old
    if old is None:
        return
    labels = [(obj.get("metadata") or {}).get("labels") or {} for obj in (new, old)]
    if labels[0] != labels[1]:
        _refuse(review, f'node "{node}" cannot update labels through pod status')
    claims = [(obj.get("status") or {}).get("resourceClaimStatuses") or [] for obj in (new, old)]
    if claims[0] != claims[1]:
        _refuse(review, f'node "{node}" cannot update resource claim statuses')


async def _claim(review: Review, node: str) -> None:
    """Of a claim a node tells only how far it has grown."""
    new, old = review.new, review.old
    if review.operation != "update" or new is None or old is None:
        _refuse(review, f'unexpected operation "{review.operation.upper()}"')
        return
    if review.subresource != "status":
        _refuse(review, "may only update PVC status")
    before, after = _without(old, "metadata", UNSEEN), _without(new, "metadata", UNSEEN)
    if before["metadata"] != after["metadata"]:
        text = "is not allowed to update metadata on persistentvolumeclaims"
        _refuse(review, f'node "{node}" {text}')
    if _without(before, "status", GROWTH) != _without(after, "status", GROWTH):
        _refuse(
            review,
            f'node "{node}" is not allowed to update fields other than status.quantity and '
            "status.conditions",
        )


def _without(obj: Object, part: str, names: tuple[str, ...]) -> Object:
    kept = {name: each for name, each in (obj.get(part) or {}).items() if name not in names}
    return {**obj, part: kept}


async def _node(review: Review, node: str) -> None:
    if review.name != node:
        _refuse(review, f'node "{node}" is not allowed to modify node "{review.name}"')
    new, old = review.new, review.old
    if review.operation == "delete":
        _refuse(review, f'node "{node}" is not allowed to delete itself')
    if new is None:
        return
    labels = (new.get("metadata") or {}).get("labels") or {}
    had = ((old or {}).get("metadata") or {}).get("labels") or {}
    changed = {k for k in {*labels, *had} if labels.get(k) != had.get(k)}
    wrong = sorted(key for key in changed if not _may_label(key, creating=old is None))
    if wrong:
        shown = ", ".join(wrong)
        _refuse(review, f'node "{node}" is not allowed to modify labels: {shown}')
    if old is not None:
        spec, had_spec = new.get("spec") or {}, old.get("spec") or {}
        if (spec.get("taints") or []) != (had_spec.get("taints") or []):
            _refuse(review, f'node "{node}" is not allowed to modify taints')
        if (new["metadata"].get("ownerReferences") or []) != (
            old["metadata"].get("ownerReferences") or []
        ):
            _refuse(review, f'node "{node}" is not allowed to modify ownerReferences')


def _may_label(key: str, *, creating: bool) -> bool:
    """Labels in Kubernetes's own name spaces are for administrators, but for a few."""
    prefix = key.partition("/")[0] if "/" in key else ""
    if prefix == OWN_PREFIX.rstrip("/") or prefix.endswith("." + OWN_PREFIX.rstrip("/")):
        return False
    reserved = prefix in ("kubernetes.io", "k8s.io") or prefix.endswith(
        (".kubernetes.io", ".k8s.io")
    )
    if not reserved or key in ALLOWED_LABELS:
        return True
    parts = (allowed.rstrip("/") for allowed in ALLOWED_PREFIXES)
    return any(prefix == part or prefix.endswith("." + part) for part in parts)


async def _lease(review: Review, node: str) -> None:
    if review.namespace != LEASE_NAMESPACE:
        _refuse(review, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    if review.name != node:
        text = "can only access node lease with the same name as the requesting node"
        _refuse(review, text)


async def _own_name(review: Review, node: str) -> None:
    if review.name != node:
        _refuse(
            review,
            f"can only access {review.resource.kind} with the same name as the requesting node",
        )


async def _slice(review: Review, node: str) -> None:
    obj = review.new if review.operation == "create" else review.old
    if obj is not None and (obj.get("spec") or {}).get("nodeName") != node:
        _refuse(review, "can only access ResourceSlices with the same node as the requesting node")
