"""StatefulSet: pods with names, host names and volumes that stay.

Their order is decided in statefulset_decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.controllers import adoption, pods, revisions
from cluster.controllers import statefulset_decision as decision
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.pod_control import PodControl, pod_of
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

STATEFULSETS = "statefulsets.apps"
CLAIMS = "persistentvolumeclaims"


class StatefulSetController(Controller):
    name = "statefulset"
    account = "statefulset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sets = self.informers.of(STATEFULSETS)
        self._claims = self.informers.of(CLAIMS)
        self._control = PodControl(self, self._sets, "apps/v1", "StatefulSet")
        self._revisions = self.informers.indexed(revisions.RESOURCE, "controller", adoption.indexer)
        self._history = revisions.History(self.client)

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(STATEFULSETS),
            Watch("pods", self._control.keys_of_pod),
            Watch(revisions.RESOURCE, _owner),
            Watch(CLAIMS, lambda _: ()),
        ]

    async def reconcile(self, key: str) -> Result | None:
        owner = self._sets.get(key)
        if owner is None:
            self._control.expected.forget(key)
            return None
        # Before the pods are looked at: what is seen only later must not count as looked at.
        fresh = self._control.expected.satisfied(key)
        by_ordinal = await self._pods_of(owner)
        history = await self._history.of(owner, self._candidates(owner))
        newest = await self._history.current(owner, history)
        update = newest["metadata"]["name"]
        before = (owner.get("status") or {}).get("currentRevision") or update
        current = next((r for r in history if r["metadata"]["name"] == before), newest)
        failure: Exception | None = None
        if fresh and not pods.is_deleting(owner):
            try:
                await self._act(key, owner, by_ordinal, current, newest)
            except Exception as error:
                failure = error
        now_s = self.clock.wall()
        status = decision.status_of(owner, by_ordinal, current["metadata"]["name"], update, now_s)
        await self._write_status(owner, status)
        live = {update, status["currentRevision"], *map(decision.revision_of, by_ordinal.values())}
        await self._history.truncate(owner, history, live)
        if failure is not None:
            raise failure
        wait_s = decision.available_in_s(owner, list(by_ordinal.values()), now_s)
        return None if wait_s is None else Result(wait_s + 0.05)

    async def _pods_of(self, owner: Object) -> dict[int, Object]:
        """By ordinal; only pods with names of this set are adopted."""
        name = owner["metadata"]["name"]
        found = self._control.candidates(owner)
        named = [pod for pod in found if decision.ordinal_of(pod, name) is not None]
        mine = await self._control.claim(owner, named)
        return {decision.ordinal_of(pod, name) or 0: pod for pod in mine}

    def _candidates(self, owner: Object) -> list[Object]:
        return [
            *self._revisions.by_index("controller", owner["metadata"]["uid"]),
            *self._revisions.by_index("controller", f"orphan/{meta.namespace(owner)}"),
        ]

    async def _act(
        self,
        key: str,
        owner: Object,
        by_ordinal: Mapping[int, Object],
        current: Object,
        update: Object,
    ) -> None:
        now_s = self.clock.wall()
        plan = decision.step(owner, by_ordinal, update["metadata"]["name"], now_s)
        for ordinal, pod in by_ordinal.items():
            await self._retain(owner, ordinal, pod)
        # Claims of a pod are made before it, and each time it waits for a node.
        waiting = [n for n, pod in by_ordinal.items() if pods.phase(pod) == "Pending"]
        for ordinal in [*plan.create, *(n for n in waiting if n in decision.ordinals(owner))]:
            await self._claim_volumes(owner, ordinal)
        new = [self._pod(owner, ordinal, current, update) for ordinal in plan.create]
        await self._control.create(key, owner, new)
        await self._control.delete(key, owner, plan.delete)

    def _pod(self, owner: Object, ordinal: int, current: Object, update: Object) -> Object:
        kept = int((owner.get("status") or {}).get("currentReplicas") or 0)
        chosen = current if decision.uses_current(owner, ordinal, kept) else update
        shaped = revisions.apply(owner, chosen)
        template = decision.identity(shaped, ordinal, chosen["metadata"]["name"])
        return pod_of(owner, f"{owner['metadata']['name']}-{ordinal}", template)

    async def _claim_volumes(self, owner: Object, ordinal: int) -> None:
        for claim in decision.claims(owner, ordinal):
            name = claim["metadata"]["name"]
            found = self._claims.get(meta.key(claim))
            if found is not None:
                if pods.is_deleting(found):
                    raise RuntimeError(f"claim {name} of {meta.key(owner)} is being deleted")
                continue
            wanted = decision.claim_owner(owner, ordinal, None)
            if wanted is not None:
                claim["metadata"]["ownerReferences"] = decision.with_owner(claim, wanted)
            try:
                await self.client.create(CLAIMS, claim)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    message = f"create Claim {name} failed: {error}"
                    self.events.event(owner, "Warning", "FailedCreate", message)
                    raise

    async def _retain(self, owner: Object, ordinal: int, pod: Object) -> None:
        """Keep the claims' owners as the retention policy says."""
        wanted = decision.claim_owner(owner, ordinal, pod)
        for template in decision.claims(owner, ordinal):
            claim = self._claims.get(meta.key(template))
            if claim is None or decision.has_owner(claim, wanted):
                continue
            metadata = {**claim["metadata"], "ownerReferences": decision.with_owner(claim, wanted)}
            await self.client.update(CLAIMS, {**claim, "metadata": metadata})

    async def _write_status(self, owner: Object, status: Object) -> None:
        if status != (owner.get("status") or {}):
            new = {**owner, "status": status}
            await self.client.update(STATEFULSETS, new, subresource="status")


def _owner(revision: Object) -> Iterable[str]:
    owner = meta.controller_of(revision)
    if owner is None or owner["kind"] != "StatefulSet":
        return []
    return [f"{meta.namespace(revision)}/{owner['name']}"]
