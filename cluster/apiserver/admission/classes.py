"""Classes that objects have without naming them: DefaultStorageClass, DefaultIngressClass,
RuntimeClass, and PersistentVolumeClaimResize, which asks a class for permission.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cluster.apiserver.admission.chain import Plugin, Review
from cluster.machinery import quantity, status

Object = dict[str, Any]
ListClasses = Callable[[], Sequence[Object]]
FindClass = Callable[[str], Awaitable[Object | None]]

STORAGE_DEFAULT = "storageclass.kubernetes.io/is-default-class"
STORAGE_DEFAULT_BETA = "storageclass.beta.kubernetes.io/is-default-class"
STORAGE_CLASS_BETA = "volume.beta.kubernetes.io/storage-class"
INGRESS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
INGRESS_CLASS_OLD = "kubernetes.io/ingress.class"


def _annotations(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


def _default(classes: Sequence[Object], *annotations: str) -> str:
    """The name of the newest of those that are marked; "" if none is."""
    marked = [c for c in classes if any(_annotations(c).get(a) == "true" for a in annotations)]
    marked.sort(key=lambda c: str(c["metadata"]["name"]))
    marked.sort(key=lambda c: str(c["metadata"].get("creationTimestamp", "")), reverse=True)
    return str(marked[0]["metadata"]["name"]) if marked else ""


def default_storage_class(classes: ListClasses) -> Plugin:
    """A claim that says nothing about its class gets the default one; "" says: none."""

    async def admit(review: Review) -> None:
        claim = review.creates("persistentvolumeclaims")
        if claim is None or STORAGE_CLASS_BETA in _annotations(claim):
            return
        spec = claim.setdefault("spec", {})
        if spec.get("storageClassName") is None:
            name = _default(classes(), STORAGE_DEFAULT, STORAGE_DEFAULT_BETA)
            if name:
                spec["storageClassName"] = name

    return admit


def default_ingress_class(classes: ListClasses) -> Plugin:
    async def admit(review: Review) -> None:
        ingress = review.creates("ingresses", "networking.k8s.io")
        if ingress is None or INGRESS_CLASS_OLD in _annotations(ingress):
            return
        spec = ingress.setdefault("spec", {})
        if spec.get("ingressClassName") is None:
            name = _default(classes(), INGRESS_DEFAULT)
            if name:
                spec["ingressClassName"] = name

    return admit


def claim_resize(find: FindClass) -> Plugin:
    """A claim grows only if its class lets it."""

    async def admit(review: Review) -> None:
        key = (review.resource.group, review.resource.plural, review.subresource)
        new, old = review.new, review.old
        if key != ("", "persistentvolumeclaims", "") or new is None or old is None:
            return
        if _size(new) <= _size(old):
            return
        name = (old.get("spec") or {}).get("storageClassName") or ""
        found = await find(name) if name else None
        if not (found or {}).get("allowVolumeExpansion"):
            text = (
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize"
            )
            raise status.forbidden(review.resource, review.name, text)

    return admit


def _size(claim: Object) -> int:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return quantity.parse(requests.get("storage", 0))


def runtime_class(find: FindClass) -> Plugin:
    """A pod's class says what it costs besides its containers, and where it can run."""

    async def admit(review: Review) -> None:
        pod = review.creates("pods")
        if pod is None:
            return
        spec = pod.setdefault("spec", {})
        name = spec.get("runtimeClassName")
        found = await find(name) if name else None
        if name and found is None:
            text = f'pod rejected: RuntimeClass "{name}" not found'
            raise status.forbidden(review.resource, review.name, text)
        _set_overhead(review, spec, ((found or {}).get("overhead") or {}).get("podFixed"))
        _set_scheduling(review, spec, (found or {}).get("scheduling") or {})

    return admit


def _set_overhead(review: Review, spec: Object, fixed: Object | None) -> None:
    given = spec.get("overhead")
    if given and not fixed:
        text = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        raise status.forbidden(review.resource, review.name, text)
    if not fixed:
        return
    if given and {n: quantity.parse(a) for n, a in given.items()} != {
        n: quantity.parse(a) for n, a in fixed.items()
    }:
        text = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        raise status.forbidden(review.resource, review.name, text)
    spec["overhead"] = dict(fixed)


def _set_scheduling(review: Review, spec: Object, scheduling: Object) -> None:
    selector = scheduling.get("nodeSelector") or {}
    own = spec.get("nodeSelector") or {}
    for key, value in selector.items():
        if own.get(key, value) != value:
            text = (
                f"pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {own[key]}"
            )
            raise status.forbidden(review.resource, review.name, text)
    if selector:
        spec["nodeSelector"] = {**own, **selector}
    tolerations = scheduling.get("tolerations") or ()
    had = spec.get("tolerations") or []
    if tolerations:
        spec["tolerations"] = [*had, *(t for t in tolerations if t not in had)]
