"""NodeRestriction: a node writes its own Node, its own pods' status, and its own leases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.apiserver.authz.node import LEASE_NAMESPACE, node_of
from cluster.machinery import status

Object = dict[str, Any]
FindPod = Callable[[str, str], Awaitable[Object | None]]

MIRROR = "kubernetes.io/config.mirror"
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

    def __init__(self, find_pod: FindPod) -> None:
        self._find_pod = find_pod

    async def __call__(self, review: Review) -> None:
        if not review.user.name.startswith("system:node:"):
            return
        node = node_of(review.user)
        if not node:
            return
        checks: Mapping[str, Callable[[Review, str], Awaitable[None]]] = {
            "/pods": self._pod,
            "/nodes": _node,
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
            _mirror_pod(review, node)
        elif review.subresource in ("status", "resize"):
            await self._own_pod(review, node, review.name)
            if review.subresource == "status":
                _same_labels(review)
        else:
            what = f"pods/{review.subresource}" if review.subresource else "pods"
            _refuse(review, f'unexpected operation "{review.operation}" on {what}, node "{node}"')

    async def _own_pod(self, review: Review, node: str, name: str) -> None:
        pod = review.old or await self._find_pod(review.namespace, name)
        if pod is not None and (pod.get("spec") or {}).get("nodeName") != node:
            verb = {"update": "update status for"}.get(review.operation, review.operation)
            _refuse(review, f'node "{node}" can only {verb} pods with spec.nodeName set to itself')

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


def _refuse(review: Review, text: str) -> None:
    raise status.forbidden(review.resource, review.name, text)


def _mirror_pod(review: Review, node: str) -> None:
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
    if spec.get("serviceAccountName"):
        _refuse(review, "a mirror pod may not reference service accounts")
    for volume in spec.get("volumes") or ():
        for source in ("secret", "configMap", "projected", "persistentVolumeClaim"):
            if volume.get(source):
                _refuse(review, f"a mirror pod may not reference {source} volumes")


def _same_labels(review: Review) -> None:
    labels = [
        ((obj or {}).get("metadata") or {}).get("labels") or {} for obj in (review.new, review.old)
    ]
    if review.old is not None and labels[0] != labels[1]:
        _refuse(review, "node cannot update labels through pod status")


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
    if review.operation != "create":
        return
    if review.namespace != LEASE_NAMESPACE or review.name != node:
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
