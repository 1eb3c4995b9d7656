"""The pods of one kind of owner: whose they are, and making and removing them in batches.

What was asked for and not yet seen is kept as expectations, so that a stale cache doubles nothing.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from cluster.client import Informer, UnknownOutcome
from cluster.controllers import adoption, pods
from cluster.controllers.expectations import Expectations
from cluster.controllers.framework import Controller
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

ATTEMPTS = 3
"""To create a pod whose creation is not answered."""
BURST = 500
"""Pods made or removed in one pass, as upstream's burstReplicas."""
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class PodControl:
    """Used by the controller of `owners`, whose kind is (`api_version`, `kind`)."""

    def __init__(
        self, controller: Controller, owners: Informer, api_version: str, kind: str
    ) -> None:
        self._controller = controller
        self._owners = owners
        self._kind = (api_version, kind)
        self._choose = controller.context.seams.randomness.choice
        owners.add_index("namespace", lambda obj: [meta.namespace(obj)])
        self.pods = controller.informers.indexed("pods", "controller", adoption.indexer)
        self._namespaces = controller.informers.of("namespaces")
        self.expected = Expectations(controller.clock)
        self.pods.subscribe(self._observe)

    def owns(self, reference: Object | None) -> bool:
        """Whether this reference is to the kind of owner that is controlled here."""
        return reference is not None and self._kind == (
            reference["apiVersion"],
            reference["kind"],
        )

    def keys_of_pod(self, pod: Object) -> Iterable[str]:
        """Its owner; for an orphan, those that could adopt it."""
        namespace = meta.namespace(pod)
        reference = meta.controller_of(pod)
        if reference is not None:
            return [f"{namespace}/{reference['name']}"] if self.owns(reference) else []
        labels = pod["metadata"].get("labels")
        return [
            meta.key(owner)
            for owner in self._owners.by_index("namespace", namespace)
            if adoption.selector_of(owner).matches(labels)
        ]

    def candidates(self, owner: Object) -> list[Object]:
        """The pods that are the owner's by reference, and the orphans of its namespace."""
        return [
            *self.pods.by_index("controller", owner["metadata"]["uid"]),
            *self.pods.by_index("controller", f"orphan/{meta.namespace(owner)}"),
        ]

    async def claim(self, owner: Object, candidates: Iterable[Object]) -> list[Object]:
        """Those of the candidates that the owner has after adopting and releasing."""
        return await adoption.claim(self._controller.client, owner, candidates, "pods")

    def name(self, prefix: str) -> str:
        """A name as the server would generate it; chosen here, so that a retry is safe."""
        return prefix[:58] + "".join(self._choose(ALPHABET) for _ in range(5))

    def names(self, prefix: str, count: int) -> list[str]:
        found: dict[str, None] = {}
        while len(found) < count:
            found[self.name(prefix)] = None
        return [*found]

    async def create(self, key: str, owner: Object, new: Sequence[Object]) -> None:
        """In batches of 1, 2, 4, ...; the first failure is raised and ends them. In a namespace
        that is being deleted nothing is made: the owner goes with it."""
        if self._is_ending(meta.namespace(owner)):
            return
        by_name = {pod["metadata"]["name"]: pod for pod in new}
        self.expected.expect_creations(key, set(by_name))
        tried: set[str] = set()

        async def create(name: str) -> None:
            tried.add(name)
            try:
                await self._create_one(key, owner, by_name[name])
            except BaseException:
                self.expected.created(key, name)
                raise

        try:
            await slow_start([*by_name], create)
        finally:
            for name in by_name.keys() - tried:
                self.expected.created(key, name)

    def _is_ending(self, namespace: str) -> bool:
        found = self._namespaces.get(namespace)
        return found is not None and pods.is_deleting(found)

    async def _create_one(self, key: str, owner: Object, pod: Object) -> None:
        events = self._controller.events
        try:
            await self._create_surely(pod)
        except ApiError as error:
            if error.code == 404 or "being terminated" in error.message:
                self.expected.created(key, pod["metadata"]["name"])
                return  # The namespace goes, and the owner with it.
            events.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        name = pod["metadata"]["name"]
        events.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")

    async def _create_surely(self, pod: Object) -> None:
        """The name is chosen here, so a create without an answer can be repeated safely."""
        repeated = False
        for attempt in range(ATTEMPTS):
            try:
                await self._controller.client.create("pods", pod)
                return
            except UnknownOutcome:
                if attempt == ATTEMPTS - 1:
                    raise
            except ApiError as error:
                if repeated and error.reason == "AlreadyExists" and await self._is_there(pod):
                    return
                if error.reason != "Timeout" or attempt == ATTEMPTS - 1:
                    raise
            repeated = True

    async def _is_there(self, pod: Object) -> bool:
        """Whether the pod of that name is the one that was asked for: another may have it."""
        metadata = pod["metadata"]
        found = await self._controller.client.get("pods", metadata["name"], metadata["namespace"])
        mine, its = meta.controller_of(pod), meta.controller_of(found)
        return mine is not None and its is not None and mine["uid"] == its["uid"]

    async def delete(self, key: str, owner: Object, chosen: Sequence[Object]) -> None:
        """All at once; pods that are gone already are no failure."""
        self.expected.expect_deletions(key, {pod["metadata"]["uid"] for pod in chosen})

        async def delete(pod: Object) -> None:
            metadata = pod["metadata"]
            try:
                await self._controller.client.delete(
                    "pods", metadata["name"], metadata["namespace"], uid=metadata["uid"]
                )
            except BaseException as error:
                self.expected.deleted(key, metadata["uid"])
                if isinstance(error, ApiError) and error.code in (404, 409):
                    return
                raise
            message = f"Deleted pod: {metadata['name']}"
            self._controller.events.event(owner, "Normal", "SuccessfulDelete", message)

        raise_first(await asyncio.gather(*map(delete, chosen), return_exceptions=True))

    def _observe(self, kind: str, old: Object | None, new: Object | None) -> None:
        """Lower expectations: a pod being deleted counts as deleted."""
        pod = new or old or {}
        self.expected.appeared(meta.namespace(pod), pod["metadata"]["name"])
        if kind == "delete" or pods.is_deleting(pod):
            self.expected.vanished(pod["metadata"]["uid"])


def pod_of(owner: Object, name: str, template: Object | None = None) -> Object:
    """A pod of the owner's template (or of `template`) with the owner as its controller."""
    made = copy.deepcopy(template or owner["spec"].get("template") or {})
    given = made.get("metadata") or {}
    kept = {k: given[k] for k in ("labels", "annotations", "finalizers") if given.get(k)}
    metadata = kept | {
        "name": name,
        "generateName": f"{owner['metadata']['name']}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [meta.owner_reference(owner)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made.get("spec") or {}}


async def slow_start(names: list[str], create: Callable[[str], Awaitable[None]]) -> None:
    """Batches of 1, 2, 4, ...; a batch with a failure is the last (quota, admission)."""
    size = 1
    while names:
        batch, names = names[:size], names[size:]
        raise_first(await asyncio.gather(*map(create, batch), return_exceptions=True))
        size *= 2


def raise_first(results: Iterable[object]) -> None:
    """Raise the first exception among the results of a gather."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
