"""Deployment: ReplicaSets per revision of the template, rolled over as the strategy says."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers import adoption, pods
from cluster.controllers import deployment_facts as facts
from cluster.controllers import deployment_rollout as rollout
from cluster.controllers import deployment_status as statuses
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.own_writes import OwnWrites
from cluster.controllers.removal import remove
from cluster.machinery import meta, selectors
from cluster.machinery.status import ApiError

Object = dict[str, Any]

SETS = "replicasets.apps"
DEPLOYMENTS = "deployments.apps"
BEHIND_S = 1.0
"""Between two looks at whether the cache shows what was written; usually its event comes first."""


class DeploymentController(Controller):
    name = "deployment"
    account = "deployment-controller"
    workers = 8

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._deployments = self.informers.indexed(
            DEPLOYMENTS, "namespace", lambda obj: [meta.namespace(obj)]
        )
        self._sets = self.informers.indexed(SETS, "controller", adoption.indexer)
        self._pods = self.informers.indexed("pods", "controller", adoption.indexer)
        self._writes = OwnWrites(self._sets, self.clock)

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(DEPLOYMENTS),
            Watch(SETS, self._keys_of_set),
            Watch("pods", self._keys_of_pod),
        ]

    def _keys_of_set(self, item: Object) -> Iterable[str]:
        namespace, reference = meta.namespace(item), meta.controller_of(item)
        if reference is not None:
            return [f"{namespace}/{reference['name']}"] if _is_deployment(reference) else []
        labels = item["metadata"].get("labels")
        return [
            meta.key(owner)
            for owner in self._deployments.by_index("namespace", namespace)
            if selectors.from_object(owner["spec"].get("selector")).matches(labels)
        ]

    def _keys_of_pod(self, pod: Object) -> Iterable[str]:
        """Only Recreate waits for pods to be gone; the rest is seen on the ReplicaSets."""
        reference = meta.controller_of(pod)
        if reference is None or not (pods.is_deleting(pod) or pods.is_terminated(pod)):
            return []
        owner = self._sets.get(f"{meta.namespace(pod)}/{reference['name']}")
        return self._keys_of_set(owner) if owner and meta.controller_of(owner) else []

    async def reconcile(self, key: str) -> Result | None:
        deployment = self._deployments.get(key)
        if deployment is None:
            return None
        deployment = dict(deployment)
        if not (deployment["spec"].get("selector") or {}):
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self.events.event(deployment, "Warning", "SelectingAll", message)
            return None
        if self._writes.behind(key):
            return Result(BEHIND_S)
        sets = await self._claim(deployment)
        if pods.is_deleting(deployment):
            await self._write_counters(deployment, sets)
            return None
        if await self._note_pause(deployment):
            return None
        return await self._roll(deployment, sets)

    async def _claim(self, deployment: Object) -> list[Object]:
        candidates = [
            *self._sets.by_index("controller", deployment["metadata"]["uid"]),
            *self._sets.by_index("controller", f"orphan/{meta.namespace(deployment)}"),
        ]
        return await adoption.claim(self.client, deployment, candidates, SETS)

    async def _roll(self, deployment: Object, sets: list[Object]) -> Result | None:
        paused = bool(deployment["spec"].get("paused"))
        if paused or rollout.is_scaling(deployment, sets):
            await self._only_scale(deployment, sets, paused)
            return None
        if facts.is_rolling(deployment):
            return await self._rolling_update(deployment, sets)
        return await self._recreate(deployment, sets)

    async def _only_scale(self, deployment: Object, sets: list[Object], paused: bool) -> None:
        new = facts.find_new(deployment, sets)
        if new is not None:
            new = await self._refresh(deployment, new, sets)
            sets = _replaced(sets, new)
        old = facts.find_old(new, sets)
        sizes = rollout.scale(deployment, new, old)
        sized = [await self._resize(deployment, s, sizes.get(_name(s))) for s in sets]
        if paused:
            await self._clean_up(deployment, old)
        await self._write_counters(deployment, sized)

    async def _rolling_update(self, deployment: Object, sets: list[Object]) -> Result | None:
        new = await self._ensure_new(deployment, sets)
        sets = _replaced(sets, new)
        old = facts.find_old(new, sets)
        size = rollout.new_set_size(deployment, new, sets)
        if size != facts.wanted(new):
            grown = await self._resize(deployment, new, size)
            return await self._write_progress(deployment, _replaced(sets, grown), grown)
        sizes = rollout.shrink_old(deployment, new, old)
        for item in old:
            if _name(item) in sizes:
                item = await self._resize(deployment, item, sizes[_name(item)])
                sets = _replaced(sets, item)
        if not sizes and statuses.is_complete(deployment, deployment.get("status") or {}):
            await self._clean_up(deployment, old)
        return await self._write_progress(deployment, sets, new)

    async def _recreate(self, deployment: Object, sets: list[Object]) -> Result | None:
        new = facts.find_new(deployment, sets)
        old = facts.find_old(new, sets)
        if shrinking := facts.active(old):
            for item in shrinking:
                sets = _replaced(sets, await self._resize(deployment, item, 0))
            return await self._write_progress(deployment, sets, new)
        if any(self._has_running_pods(item) for item in old):
            return await self._write_progress(deployment, sets, new)
        new = await self._ensure_new(deployment, sets)
        new = await self._resize(deployment, new, facts.wanted(deployment))
        if statuses.is_complete(deployment, deployment.get("status") or {}):
            await self._clean_up(deployment, old)
        return await self._write_progress(deployment, _replaced(sets, new), new)

    def _has_running_pods(self, item: Object) -> bool:
        children = self._pods.by_index("controller", item["metadata"]["uid"])
        return any(not pods.is_terminated(pod) for pod in children)

    async def _ensure_new(self, deployment: Object, sets: Sequence[Object]) -> Object:
        found = facts.find_new(deployment, sets)
        if found is not None:
            return await self._refresh(deployment, found, sets)
        number = max((facts.revision(s) for s in sets), default=0) + 1
        size = rollout.new_set_size(deployment, None, sets)
        made = await self._create(deployment, facts.new_replica_set(deployment, size, number))
        await self._put_revision(deployment, facts.revision(made) or number)
        return made

    async def _refresh(self, deployment: Object, new: Object, sets: Sequence[Object]) -> Object:
        """The new ReplicaSet has the highest revision, also after a roll-back to it."""
        number = max((facts.revision(s) for s in facts.find_old(new, sets)), default=0) + 1
        given = new["metadata"].get("annotations") or {}
        annotations = facts.with_revision(facts.copied_annotations(deployment, given), number)
        ready_s = deployment["spec"].get("minReadySeconds") or 0
        if annotations != given or ready_s != (new["spec"].get("minReadySeconds") or 0):
            changed = copy.deepcopy(new)
            changed["metadata"]["annotations"] = annotations
            changed["spec"]["minReadySeconds"] = ready_s
            new = await self._update(deployment, changed)
        await self._put_revision(deployment, facts.revision(new))
        return new

    async def _put_revision(self, deployment: Object, number: int) -> None:
        if facts.annotation(deployment, facts.REVISION) == str(number):
            return
        changed = copy.deepcopy(deployment)
        changed["metadata"].setdefault("annotations", {})[facts.REVISION] = str(number)
        _take_metadata(deployment, await self.client.update(DEPLOYMENTS, changed))

    async def _create(self, deployment: Object, new: Object) -> Object:
        try:
            making = self.client.create(SETS, new)
            made = await self._writes.write(meta.key(deployment), new, making)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return await self._existing(deployment, new)
            await self._note_failure(deployment, error)
            raise
        self._tell_scaled(deployment, made, 0)
        return made

    async def _existing(self, deployment: Object, new: Object) -> Object:
        """Our own from before, unseen by the cache; otherwise the hash collides: count it."""
        found = await self.client.get(SETS, _name(new), new["metadata"]["namespace"])
        reference = meta.controller_of(found) or {}
        same_owner = reference.get("uid") == deployment["metadata"]["uid"]
        if same_owner and facts.same_template(deployment, found):
            return found
        status = copy.deepcopy(deployment.get("status") or {})
        status["collisionCount"] = facts.counted(deployment, "collisionCount") + 1
        await self._write(deployment, status)
        raise CollisionError(f"{_name(new)} belongs to something else")

    async def _note_failure(self, deployment: Object, error: ApiError) -> None:
        message = f"Failed to create new replica set: {error}"
        self.events.event(deployment, "Warning", "ReplicaSetCreateError", message)
        if statuses.deadline_s(deployment) is None or error.code == 403:
            return
        status = copy.deepcopy(deployment.get("status") or {})
        reason = "ReplicaSetCreateError"
        statuses.put(status, self.clock.wall(), "Progressing", "False", reason, str(error))
        await self._write(deployment, status)

    async def _resize(self, deployment: Object, item: Object, size: int | None) -> Object:
        """Bring size and size annotations up to date; None keeps the size."""
        before = facts.wanted(item)
        after = before if size is None else size
        annotations = item["metadata"].get("annotations") or {}
        wanted = {**annotations, **facts.size_annotations(deployment)}
        if before == after and (annotations == wanted or after == 0):
            return item
        changed = copy.deepcopy(item)
        changed["spec"]["replicas"] = after
        changed["metadata"]["annotations"] = wanted
        changed = await self._update(deployment, changed)
        if after != before:
            self._tell_scaled(deployment, changed, before)
        return changed

    async def _update(self, deployment: Object, item: Object) -> Object:
        updating = self.client.update(SETS, item)
        return await self._writes.write(meta.key(deployment), item, updating)

    def _tell_scaled(self, deployment: Object, item: Object, before: int) -> None:
        after = facts.wanted(item)
        direction = "up" if after > before else "down"
        message = f"Scaled {direction} replica set {_name(item)} from {before} to {after}"
        if after != before:
            self.events.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _clean_up(self, deployment: Object, old: Sequence[Object]) -> None:
        """Keep `revisionHistoryLimit` old ReplicaSets that are empty."""
        limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
        alive = [s for s in old if not pods.is_deleting(s)]
        excess = len(alive) - limit
        for item in sorted(alive, key=facts.revision)[: max(0, excess)]:
            seen = facts.counted(item, "observedGeneration")
            settled = seen >= item["metadata"].get("generation", 0)
            if facts.counted(item, "replicas") or facts.wanted(item) or not settled:
                continue
            await remove(self.client, SETS, item)

    async def _note_pause(self, deployment: Object) -> bool:
        """Say in Progressing that the Deployment was paused or resumed; True if written."""
        condition = meta.condition(deployment, "Progressing")
        if statuses.deadline_s(deployment) is None or (
            condition is not None and condition.get("reason") == "ProgressDeadlineExceeded"
        ):
            return False
        was_paused = condition is not None and condition.get("reason") == "DeploymentPaused"
        paused = bool(deployment["spec"].get("paused"))
        if paused == was_paused:
            return False
        word = "paused" if paused else "resumed"
        status = copy.deepcopy(deployment.get("status") or {})
        reason, message = f"Deployment{word.capitalize()}", f"Deployment is {word}"
        statuses.put(status, self.clock.wall(), "Progressing", "Unknown", reason, message)
        await self._write(deployment, status)
        return True

    async def _write_counters(self, deployment: Object, sets: Sequence[Object]) -> None:
        new = facts.find_new(deployment, sets)
        await self._write(deployment, statuses.counters(deployment, sets, new, self.clock.wall()))

    async def _write_progress(
        self, deployment: Object, sets: Sequence[Object], new: Object | None
    ) -> Result | None:
        status = statuses.rollout_status(deployment, sets, new, self.clock.wall())
        await self._write(deployment, status)
        after_s = statuses.recheck_in_s(deployment, status, self.clock.wall())
        return Result(after_s) if after_s is not None else None

    async def _write(self, deployment: Object, status: Object) -> None:
        if status != (deployment.get("status") or {}):
            changed = {**deployment, "status": status}
            await self.client.update(DEPLOYMENTS, changed, subresource="status")


class CollisionError(Exception):
    """The name that the template's hash gives is taken: try again with the next count."""


def _take_metadata(deployment: Object, patched: Object) -> None:
    """Later writes of this pass use the patch's version (`reconcile` made a shallow copy).

    The generation stays: the spec that this pass works on is the one seen before.
    """
    changed = {k: patched["metadata"].get(k) for k in ("resourceVersion", "annotations")}
    deployment["metadata"] = deployment["metadata"] | changed


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _is_deployment(reference: Object) -> bool:
    return (reference["kind"], reference["apiVersion"]) == ("Deployment", "apps/v1")


def _replaced(sets: Sequence[Object], new: Object) -> list[Object]:
    """The list with the newer state of one ReplicaSet (added if it was not there)."""
    uid = new["metadata"]["uid"]
    return [*(s for s in sets if s["metadata"]["uid"] != uid), new]
