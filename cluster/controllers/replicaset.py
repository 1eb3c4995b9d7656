"""ReplicaSet: as many pods as asked for, created in growing batches, the cheapest removed.

The same for ReplicationController, its predecessor.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

from cluster.controllers import adoption, pods
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.pod_control import BURST, PodControl, pod_of
from cluster.controllers.replicaset_status import status_of
from cluster.machinery import meta

Object = dict[str, Any]


class ReplicaSetController(Controller):
    name = "replicaset"
    account = "replicaset-controller"
    workers = 8
    resource: ClassVar[str] = "replicasets.apps"
    kind: ClassVar[tuple[str, str]] = ("apps/v1", "ReplicaSet")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sets = self.informers.indexed(self.resource, "controller", adoption.indexer)
        self._control = PodControl(self, self._sets, *self.kind)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self.resource), Watch("pods", self._control.keys_of_pod)]

    async def reconcile(self, key: str) -> Result | None:
        owner = self._sets.get(key)
        if owner is None:
            self._control.expected.forget(key)
            return None
        ready_to_act = self._control.expected.satisfied(key)
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
        found = self._control.candidates(owner)
        return await self._control.claim(owner, [p for p in found if not pods.is_terminated(p)])

    async def _manage(self, key: str, owner: Object, active: Sequence[Object]) -> None:
        missing = int(owner["spec"].get("replicas", 1)) - len(active)
        if missing > 0:
            prefix = f"{owner['metadata']['name']}-"
            names = self._control.names(prefix, min(missing, BURST))
            await self._control.create(key, owner, [pod_of(owner, name) for name in names])
        elif missing < 0:
            related, now_s = self._related(owner), self.clock.wall()
            chosen = pods.to_delete(active, related, min(-missing, BURST), now_s)
            await self._control.delete(key, owner, chosen)

    def _related(self, owner: Object) -> list[Object]:
        """Active pods of every ReplicaSet with the same controller (a Deployment, usually)."""
        reference = meta.controller_of(owner)
        family = self._sets.by_index("controller", reference["uid"]) if reference else [owner]
        return [
            pod
            for member in family
            for pod in self._control.pods.by_index("controller", member["metadata"]["uid"])
            if pods.is_active(pod)
        ]

    async def _write_status(
        self, owner: Object, active: Sequence[Object], failure: Exception | None
    ) -> None:
        status = status_of(owner, active, failure, self.clock.wall())
        if status == (owner.get("status") or {}):
            return
        new = copy.copy(owner) | {"status": status}
        await self.client.update(self.resource, new, subresource="status")

    def _when_available(self, owner: Object, active: Sequence[Object]) -> Result | None:
        min_ready_s = float(owner["spec"].get("minReadySeconds") or 0)
        now_s = self.clock.wall()
        waits = [pods.available_in_s(pod, min_ready_s, now_s) for pod in active]
        known = [wait for wait in waits if wait is not None]
        return Result(min(known) + 0.05) if known else None


class ReplicationController(ReplicaSetController):
    name = "replicationcontroller"
    account = "replication-controller"
    resource = "replicationcontrollers"
    kind = ("v1", "ReplicationController")
