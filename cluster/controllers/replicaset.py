"""ReplicaSet: as many pods as asked for, created in growing batches, the cheapest removed."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from cluster.client import UnknownOutcome
from cluster.controllers import adoption, pods
from cluster.controllers.expectations import Expectations
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.replicaset_status import status_of
from cluster.machinery import meta, selectors
from cluster.machinery.status import ApiError

Object = dict[str, Any]

BURST = 500
"""Pods made or removed in one pass, as upstream's burstReplicas."""
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class ReplicaSetController(Controller):
    name = "replicaset"
    account = "replicaset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sets = self.informers.indexed("replicasets.apps", "controller", adoption.indexer)
        self._sets.add_index("namespace", lambda obj: [meta.namespace(obj)])
        self._pods = self.informers.indexed("pods", "controller", adoption.indexer)
        self._expected = Expectations(self.clock)
        self._pods.subscribe(self._observe)

    def watches(self) -> Sequence[Watch]:
        return [Watch("replicasets.apps"), Watch("pods", self._keys_of_pod)]

    def _keys_of_pod(self, pod: Object) -> Iterable[str]:
        """Its ReplicaSet; for an orphan, those that could adopt it."""
        namespace = meta.namespace(pod)
        reference = meta.controller_of(pod)
        if reference is not None:
            return [f"{namespace}/{reference['name']}"] if _is_set(reference) else []
        labels = pod["metadata"].get("labels")
        return [
            meta.key(owner)
            for owner in self._sets.by_index("namespace", namespace)
            if selectors.from_object(owner["spec"].get("selector")).matches(labels)
        ]

    def _observe(self, kind: str, old: Object | None, new: Object | None) -> None:
        """Lower expectations: a pod being deleted counts as deleted."""
        pod = new or old or {}
        reference = meta.controller_of(pod)
        if reference is None or not _is_set(reference):
            return
        key = f"{meta.namespace(pod)}/{reference['name']}"
        self._expected.created(key, pod["metadata"]["name"])
        if kind == "delete" or pods.is_deleting(pod):
            self._expected.deleted(key, pod["metadata"]["uid"])

    async def reconcile(self, key: str) -> Result | None:
        owner = self._sets.get(key)
        if owner is None:
            self._expected.forget(key)
            return None
        ready_to_act = self._expected.satisfied(key)
        mine = await self._claim(owner)
        active = [pod for pod in mine if pods.is_active(pod)]
        failure: Exception | None = None
        if ready_to_act and not pods.is_deleting(owner):
            try:
                await self._manage(key, owner, active)
            except Exception as error:
                failure = error
        await self._write_status(owner, active, failure)
        if failure is not None:
            raise failure
        return self._when_available(owner, active)

    async def _claim(self, owner: Object) -> list[Object]:
        candidates = [
            *self._pods.by_index("controller", owner["metadata"]["uid"]),
            *self._pods.by_index("controller", f"orphan/{meta.namespace(owner)}"),
        ]
        candidates = [pod for pod in candidates if not pods.is_terminated(pod)]
        return await adoption.claim(self.client, owner, candidates, "pods")

    async def _manage(self, key: str, owner: Object, active: Sequence[Object]) -> None:
        missing = int(owner["spec"].get("replicas", 1)) - len(active)
        if missing > 0:
            await self._create_pods(key, owner, min(missing, BURST))
        elif missing < 0:
            await self._delete_pods(key, owner, active, min(-missing, BURST))

    async def _create_pods(self, key: str, owner: Object, count: int) -> None:
        choose = self.context.seams.randomness.choice
        prefix = owner["metadata"]["name"][:247]
        names: dict[str, None] = {}
        while len(names) < count:
            names[f"{prefix}-{''.join(choose(ALPHABET) for _ in range(5))}"] = None
        self._expected.expect_creations(key, set(names))
        tried: set[str] = set()

        async def create(name: str) -> None:
            tried.add(name)
            try:
                await self._create_pod(owner, name)
            except BaseException:
                self._expected.created(key, name)
                raise

        try:
            await _slow_start([*names], create)
        finally:
            for name in names.keys() - tried:
                self._expected.created(key, name)

    async def _create_pod(self, owner: Object, name: str) -> None:
        pod = _pod_of(owner, name)
        try:
            await self._create_surely(pod)
        except ApiError as error:
            if error.code == 404 or "being terminated" in error.message:
                return  # The namespace goes, and the ReplicaSet with it.
            self.events.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self.events.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")

    async def _create_surely(self, pod: Object) -> None:
        """The name is chosen here, so a create without an answer can be repeated safely."""
        try:
            await self.client.create("pods", pod)
        except UnknownOutcome:
            try:
                await self.client.create("pods", pod)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise

    async def _delete_pods(
        self, key: str, owner: Object, active: Sequence[Object], count: int
    ) -> None:
        related = self._related(owner)
        chosen = pods.to_delete(active, related, count, self.clock.wall())
        self._expected.expect_deletions(key, {pod["metadata"]["uid"] for pod in chosen})

        async def delete(pod: Object) -> None:
            metadata = pod["metadata"]
            try:
                await self.client.delete(
                    "pods", metadata["name"], metadata["namespace"], uid=metadata["uid"]
                )
            except BaseException as error:
                self._expected.deleted(key, metadata["uid"])
                if isinstance(error, ApiError) and error.code in (404, 409):
                    return
                raise
            message = f"Deleted pod: {metadata['name']}"
            self.events.event(owner, "Normal", "SuccessfulDelete", message)

        results = await asyncio.gather(*map(delete, chosen), return_exceptions=True)
        _raise_first(results)

    def _related(self, owner: Object) -> list[Object]:
        """Active pods of every ReplicaSet with the same controller (a Deployment, usually)."""
        reference = meta.controller_of(owner)
        family = self._sets.by_index("controller", reference["uid"]) if reference else [owner]
        return [
            pod
            for member in family
            for pod in self._pods.by_index("controller", member["metadata"]["uid"])
            if pods.is_active(pod)
        ]

    async def _write_status(
        self, owner: Object, active: Sequence[Object], failure: Exception | None
    ) -> None:
        status = status_of(owner, active, failure, self.clock.wall())
        if status == (owner.get("status") or {}):
            return
        new = copy.copy(owner) | {"status": status}
        await self.client.update("replicasets.apps", new, subresource="status")

    def _when_available(self, owner: Object, active: Sequence[Object]) -> Result | None:
        min_ready_s = float(owner["spec"].get("minReadySeconds") or 0)
        now_s = self.clock.wall()
        waits = [pods.available_in_s(pod, min_ready_s, now_s) for pod in active]
        known = [wait for wait in waits if wait is not None]
        return Result(min(known) + 0.05) if known else None


def _is_set(reference: Object) -> bool:
    return (reference["kind"], reference["apiVersion"]) == ("ReplicaSet", "apps/v1")


def _pod_of(owner: Object, name: str) -> Object:
    template = copy.deepcopy(owner["spec"].get("template") or {})
    given = template.get("metadata") or {}
    kept = {k: given[k] for k in ("labels", "annotations", "finalizers") if given.get(k)}
    metadata = kept | {
        "name": name,
        "generateName": f"{owner['metadata']['name']}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [meta.owner_reference(owner)],
    }
    spec = template.get("spec") or {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def _slow_start(names: list[str], create: Callable[[str], Awaitable[None]]) -> None:
    """Batches of 1, 2, 4, ...; a batch with a failure is the last (quota, admission)."""
    size = 1
    while names:
        batch, names = names[:size], names[size:]
        _raise_first(await asyncio.gather(*map(create, batch), return_exceptions=True))
        size *= 2


def _raise_first(results: Iterable[object]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result
