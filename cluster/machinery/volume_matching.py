"""Which volume a claim gets: the smallest that fits. Pure; as upstream's FindMatchingVolume."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.machinery import meta, quantity, selectors

Object = dict[str, Any]


def class_of(obj: Object) -> str:
    old = (obj["metadata"].get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class")
    return str(old or obj["spec"].get("storageClassName") or "")


def is_bound_to(volume: Object, claim: Object) -> bool:
    """Whether the volume names this claim, with its uid or (reserved by a user) without one."""
    reference = volume["spec"].get("claimRef")
    if not reference:
        return False
    metadata = claim["metadata"]
    named = (reference.get("namespace"), reference.get("name"))
    if named != (metadata["namespace"], metadata["name"]):
        return False
    return reference.get("uid") in (None, "", metadata["uid"])


def size_of(volume: Object) -> int:
    return quantity.parse((volume["spec"].get("capacity") or {}).get("storage", "0"))


def fits(volume: Object, claim: Object) -> bool:
    """Size, access modes, class and volume mode; a reserved volume needs no selector to match."""
    spec, wanted = volume["spec"], claim["spec"]
    asked = ((wanted.get("resources") or {}).get("requests") or {}).get("storage", "0")
    if volume["metadata"].get("deletionTimestamp") or size_of(volume) < quantity.parse(asked):
        return False
    modes = set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ())
    kind = (spec.get("volumeMode") or "Filesystem") == (wanted.get("volumeMode") or "Filesystem")
    return modes and kind and class_of(volume) == class_of(claim)


def match(claim: Object, volumes: Iterable[Object]) -> Object | None:
    """One reserved for the claim; else the smallest free one that its selector allows."""
    given = claim["spec"].get("selector")
    selector = selectors.from_object(given) if given else selectors.EVERYTHING
    suitable = [volume for volume in volumes if fits(volume, claim)]
    for volume in suitable:
        if is_bound_to(volume, claim):
            return volume
    free = [
        volume
        for volume in suitable
        if not volume["spec"].get("claimRef")
        and (volume.get("status") or {}).get("phase") in (None, "Pending", "Available")
        and selector.matches(volume["metadata"].get("labels"))
    ]
    return min(free, key=lambda v: (size_of(v), meta.name(v)), default=None)
