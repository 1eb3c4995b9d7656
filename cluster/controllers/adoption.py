"""Taking and giving up control of objects by their labels (upstream's ControllerRefManager)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.client import Client
from cluster.machinery import meta, selectors
from cluster.machinery.resources import Resource, for_kind
from cluster.machinery.status import ApiError, not_found

Object = dict[str, Any]


def indexer(obj: Object) -> list[str]:
    """For an index by controller: its uid, or `orphan/NAMESPACE`."""
    reference = meta.controller_of(obj)
    return [reference["uid"] if reference else f"orphan/{meta.namespace(obj)}"]


def selector_of(owner: Object) -> selectors.LabelSelector:
    """What it selects; a ReplicationController's selector is a plain map of labels."""
    given = (owner.get("spec") or {}).get("selector")
    if owner["kind"] == "ReplicationController":
        return selectors.from_labels(given) if given else selectors.NOTHING
    return selectors.from_object(given)


async def claim(
    client: Client, owner: Object, children: Iterable[Object], resource: str
) -> list[Object]:
    """The children that `owner` controls afterwards: matching orphans are adopted, owned ones
    that no longer match are released."""
    selector = selector_of(owner)
    deleting = bool(owner["metadata"].get("deletionTimestamp"))
    mine: list[Object] = []
    checked = False
    for child in children:
        matches = selector.matches(child["metadata"].get("labels"))
        reference = meta.controller_of(child)
        if reference is not None and reference["uid"] == owner["metadata"]["uid"]:
            if matches:
                mine.append(child)
            elif not deleting:
                await _release(client, owner, child, resource)
        elif reference is None and matches and not deleting:
            if child["metadata"].get("deletionTimestamp"):
                continue
            if not checked:
                await _still_there(client, owner)
                checked = True
            if adopted := await _adopt(client, owner, child, resource):
                mine.append(adopted)
    return mine


async def _still_there(client: Client, owner: Object) -> None:
    """Adoption for an owner that is gone would undo an orphaning; so ask, not the cache."""
    resource = resource_for(owner)
    metadata = owner["metadata"]
    fresh = await client.get(resource, metadata["name"], metadata.get("namespace", ""))
    same = fresh["metadata"]["uid"] == metadata["uid"]
    if not same or fresh["metadata"].get("deletionTimestamp"):
        raise not_found(resource, metadata["name"])


def resource_for(obj: Object) -> Resource:
    resource = for_kind(obj["apiVersion"], obj["kind"])
    if resource is None:
        raise LookupError(f"no resource for {obj['apiVersion']} {obj['kind']}")
    return resource


async def _adopt(client: Client, owner: Object, child: Object, resource: str) -> Object | None:
    references = [meta.owner_reference(owner)]
    patch = {"metadata": {"ownerReferences": references, "uid": child["metadata"]["uid"]}}
    return await _patch(client, child, patch, resource)


async def _release(client: Client, owner: Object, child: Object, resource: str) -> None:
    gone = [{"$patch": "delete", "uid": owner["metadata"]["uid"]}]
    patch = {"metadata": {"ownerReferences": gone, "uid": child["metadata"]["uid"]}}
    await _patch(client, child, patch, resource)


async def _patch(client: Client, child: Object, patch: Object, resource: str) -> Object | None:
    """None if the child is gone, or another object has its name by now (422 or 409)."""
    metadata = child["metadata"]
    try:
        return await client.patch(
            resource, metadata["name"], patch, metadata.get("namespace", ""), kind="strategic"
        )
    except ApiError as error:
        if error.code in (404, 422):
            return None
        raise
