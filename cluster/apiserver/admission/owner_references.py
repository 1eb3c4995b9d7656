"""OwnerReferencesPermissionEnforcement: references delete objects, so they take permission.

Who changes an object's owners must be allowed to delete it, and who lets it hold up an owner's
deletion must be allowed to do that to the owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cluster.apiserver.admission.chain import Plugin, Review
from cluster.apiserver.authz.attributes import Attributes, Authorizer
from cluster.machinery import status
from cluster.machinery.resources import Resource

Object = dict[str, Any]
FindKind = Callable[[str, str], Resource | None]
"""The resource of an apiVersion and kind."""


def plugin(authorizer: Authorizer, find_kind: FindKind) -> Plugin:
    async def admit(review: Review) -> None:
        if review.new is None or review.subresource:
            return
        new, old = _references(review.new), _references(review.old)
        if new == old:
            return
        if review.operation == "update":
            await _may_delete(review, authorizer)
        for reference in _newly_blocking(new, old):
            await _may_block(review, authorizer, find_kind, reference)

    return admit


async def _may_delete(review: Review, authorizer: Authorizer) -> None:
    resource = review.resource
    asked = Attributes(
        review.user, "delete", "", resource.group, resource.version, resource.plural, "",
        review.namespace, review.name,
    )  # fmt: skip
    decision = await authorizer.decide(asked)
    if not decision.allowed:
        text = f"cannot set an ownerRef on a resource you can't delete: {decision.reason}, <nil>"
        raise status.forbidden(resource, review.name, text)


async def _may_block(
    review: Review, authorizer: Authorizer, find_kind: FindKind, reference: Object
) -> None:
    text = (
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set "
        "finalizers on"
    )
    owner = find_kind(reference.get("apiVersion", ""), reference.get("kind", ""))
    if owner is None:
        shown = f"{reference.get('apiVersion')}, Kind={reference.get('kind')}"
        text = (
            f"cannot set blockOwnerDeletion in this case because cannot find RESTMapping: {shown}"
        )
        raise status.forbidden(review.resource, review.name, text)
    asked = Attributes(
        review.user, "update", "", owner.group, owner.version, owner.plural, "finalizers",
        review.namespace if owner.namespaced else "", reference.get("name", ""),
    )  # fmt: skip
    decision = await authorizer.decide(asked)
    if not decision.allowed:
        raise status.forbidden(review.resource, review.name, f"{text}: {decision.reason}, <nil>")


def _references(obj: Object | None) -> list[Object]:
    return ((obj or {}).get("metadata") or {}).get("ownerReferences") or []


def _newly_blocking(new: list[Object], old: list[Object]) -> Iterator[Object]:
    blocked = {each.get("uid") for each in old if each.get("blockOwnerDeletion")}
    for each in new:
        if each.get("blockOwnerDeletion") and each.get("uid") not in blocked:
            yield each
