"""Namespace: deletes everything in a namespace that is being deleted, then lets it go."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.client import ClientError
from cluster.controllers import discovery
from cluster.controllers.framework import Controller, Result, Watch
from cluster.machinery import meta
from cluster.machinery.resources import Resource, find
from cluster.machinery.status import ApiError

Object = dict[str, Any]

FINALIZER = "kubernetes"
PARALLEL = 16
AGAIN_S, AGAIN_EACH_S, FAILED_S = 0.2, 0.0002, 2.0
"""Until the next look, and more for each object that remains: a look costs a list of them. What
has failed is tried again less often."""


@dataclass
class Progress:
    """What one pass over the content found; messages by kind of failure."""

    remaining: dict[str, int] = field(default_factory=dict)
    finalizers: dict[str, int] = field(default_factory=dict)
    discovery_failure: str = ""
    delete_failures: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return not (self.remaining or self.discovery_failure or self.delete_failures)


class NamespaceController(Controller):
    name = "namespace"
    account = "namespace-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch("namespaces", _keys_of_ending)]

    async def reconcile(self, key: str) -> Result | None:
        try:
            namespace = await self.client.get("namespaces", key)
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        if not _keys_of_ending(namespace):
            return None
        progress = await self._empty(key)
        namespace = await self._write_conditions(namespace, progress)
        if not progress.done:
            slow = progress.discovery_failure or progress.delete_failures
            wait_s = FAILED_S if slow else AGAIN_S
            return Result(wait_s + sum(progress.remaining.values()) * AGAIN_EACH_S)
        await self._finalize(namespace)
        return None

    async def _empty(self, namespace: str) -> Progress:
        """Pods go first, and nothing else before they are gone (OrderedNamespaceDeletion): what
        runs must not lose the policies and secrets that it runs under."""
        progress = Progress()
        await self._empty_of(find("pods"), namespace, progress)
        if not progress.done:
            return progress
        try:
            served = await discovery.served(self.client)
        except (ApiError, ClientError) as error:
            progress.discovery_failure = str(error)
            return progress
        progress.discovery_failure = served.problem
        for resource in served.preferred:
            if resource.namespaced and {"list", "delete"} <= set(resource.verbs):
                await self._tolerantly_empty(resource, namespace, progress)
        return progress

    async def _tolerantly_empty(
        self, resource: Resource, namespace: str, progress: Progress
    ) -> None:
        """What one server refuses does not hold up what others serve."""
        try:
            await self._empty_of(resource, namespace, progress)
        except ApiError as error:
            progress.delete_failures.append(str(error))

    async def _empty_of(self, resource: Resource, namespace: str, progress: Progress) -> None:
        items = await self._list(resource, namespace)
        if any(not item["metadata"].get("deletionTimestamp") for item in items):
            await self._delete(resource, namespace, items, progress)
        left = await self._list(resource, namespace) if items else []
        if left:
            progress.remaining[resource.group_resource] = len(left)
        for item in left:
            for finalizer in item["metadata"].get("finalizers") or ():
                progress.finalizers[finalizer] = progress.finalizers.get(finalizer, 0) + 1

    async def _delete(
        self, resource: Resource, namespace: str, items: Sequence[Object], progress: Progress
    ) -> None:
        """All in one request, where the resource can."""
        if "deletecollection" in resource.verbs:
            try:
                await self.client.delete_collection(resource, namespace, propagation="Background")
            except ApiError as error:
                progress.delete_failures.append(str(error))
            return
        slots = asyncio.Semaphore(PARALLEL)

        async def delete(item: Object) -> None:
            async with slots:
                await self._delete_one(resource, item, progress)

        await asyncio.gather(*map(delete, items))

    async def _list(self, resource: Resource, namespace: str) -> list[Object]:
        items: list[Object] = []
        token = ""
        while True:
            page = await self.client.list(
                resource, namespace, limit=500, continue_=token, metadata_only=True
            )
            items += page["items"]
            token = page["metadata"].get("continue") or ""
            if not token:
                return items

    async def _delete_one(self, resource: Resource, item: Object, progress: Progress) -> None:
        metadata = item["metadata"]
        try:
            await self.client.delete(
                resource,
                metadata["name"],
                metadata["namespace"],
                propagation="Background",
                uid=metadata["uid"],
            )
        except ApiError as error:
            if error.code not in (404, 409):
                progress.delete_failures.append(str(error))

    async def _write_conditions(self, namespace: Object, progress: Progress) -> Object:
        changed = copy.deepcopy(namespace)
        now_s = self.clock.wall()
        updates = [meta.set_condition(changed, c, now_s) for c in conditions(progress)]
        if not any(updates):
            return namespace
        return await self.client.update("namespaces", changed, subresource="status")

    async def _finalize(self, namespace: Object) -> None:
        changed = copy.deepcopy(namespace)
        finalizers = (changed.get("spec") or {}).get("finalizers") or []
        changed["spec"] = {"finalizers": [f for f in finalizers if f != FINALIZER]}
        await self.client.update("namespaces", changed, subresource="finalize")


def _keys_of_ending(namespace: Object) -> Iterable[str]:
    ending = bool(namespace["metadata"].get("deletionTimestamp"))
    finalizers = (namespace.get("spec") or {}).get("finalizers") or ()
    return [namespace["metadata"]["name"]] if ending and FINALIZER in finalizers else []


def conditions(progress: Progress) -> list[Object]:
    """Upstream's conditions of a namespace being deleted. Pure."""
    remaining = ", ".join(
        f"{name} has {count} resource instances"
        for name, count in sorted(progress.remaining.items())
    )
    finalizers = ", ".join(
        f"{name} in {count} resource instances"
        for name, count in sorted(progress.finalizers.items())
    )
    some_remain = f"Some resources are remaining: {remaining}" if remaining else ""
    some_final = (
        f"Some content in the namespace has finalizers remaining: {finalizers}"
        if finalizers
        else ""
    )
    failed = ", ".join(progress.delete_failures[:10])
    found = [
        (
            "NamespaceDeletionDiscoveryFailure",
            "DiscoveryFailed",
            "ResourcesDiscovered",
            progress.discovery_failure,
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "GroupVersionParsingFailed",
            "ParsedGroupVersions",
            "",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeletionFailed",
            "ContentDeleted",
            failed,
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            "ContentRemoved",
            some_remain,
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            "ContentHasNoFinalizers",
            some_final,
            "All content-preserving finalizers finished",
        ),
    ]
    return [
        {
            "type": type_,
            "status": "True" if problem else "False",
            "reason": bad if problem else good,
            "message": problem or fine,
        }
        for type_, bad, good, problem, fine in found
    ]
