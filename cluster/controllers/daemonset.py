"""DaemonSet: one pod on every node that fits, each bound by the scheduler through its affinity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.controllers import adoption, pods, revisions
from cluster.controllers import daemonset_decision as decision
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.pod_control import BURST, PodControl, pod_of
from cluster.machinery import meta

Object = dict[str, Any]

DAEMONSETS = "daemonsets.apps"
BACKOFF_S = (1.0, 900.0)
"""Before an ended pod of a node is removed again; doubles with each."""


class DaemonSetController(Controller):
    name = "daemonset"
    account = "daemon-set-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sets = self.informers.of(DAEMONSETS)
        self._nodes = self.informers.of("nodes")
        self._control = PodControl(self, self._sets, "apps/v1", "DaemonSet")
        self._revisions = self.informers.indexed(revisions.RESOURCE, "controller", adoption.indexer)
        self._history = revisions.History(self.client)
        self._ended: dict[tuple[str, str], tuple[int, float]] = {}

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(DAEMONSETS),
            Watch("nodes", lambda _: self._sets.keys()),
            Watch("pods", self._control.keys_of_pod),
            Watch(revisions.RESOURCE, _owner),
        ]

    async def reconcile(self, key: str) -> Result | None:
        owner = self._sets.get(key)
        if owner is None:
            self._control.expected.forget(key)
            self._ended = {k: v for k, v in self._ended.items() if k[0] != key}
            return None
        if pods.is_deleting(owner):
            return None
        # Before the pods are looked at: what is seen only later must not count as looked at.
        fresh = self._control.expected.satisfied(key)
        mine = await self._control.claim(owner, self._control.candidates(owner))
        history = await self._history.of(owner, self._candidates(owner))
        current = await self._history.current(owner, history)
        digest = current["metadata"]["labels"][revisions.HASH]
        by_node = _by_node(mine)
        again = await self._manage(key, owner, by_node, digest) if fresh else None
        live = {(p["metadata"].get("labels") or {}).get(revisions.HASH) for p in mine} | {digest}
        named = {
            r["metadata"]["name"]
            for r in history
            if r["metadata"]["labels"][revisions.HASH] in live
        }
        await self._history.truncate(owner, history, named)
        await self._write_status(owner, by_node, digest)
        return again or self._when_available(owner, mine)

    def _candidates(self, owner: Object) -> list[Object]:
        return [
            *self._revisions.by_index("controller", owner["metadata"]["uid"]),
            *self._revisions.by_index("controller", f"orphan/{meta.namespace(owner)}"),
        ]

    async def _manage(
        self, key: str, owner: Object, by_node: Mapping[str, list[Object]], digest: str
    ) -> Result | None:
        nodes, now_s = self._nodes.list(), self.clock.wall()
        plan = decision.placement(owner, nodes, by_node, digest, now_s)
        plan.delete, again = self._not_too_often(key, owner, plan.delete)
        strategy = (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
        if not plan.create and not plan.delete and strategy == "RollingUpdate":
            plan = decision.update(owner, nodes, by_node, digest, now_s)
        await self._control.delete(key, owner, plan.delete[:BURST])
        new = [self._pod(owner, node, digest) for node in plan.create[:BURST]]
        await self._control.create(key, owner, new)
        return again

    def _pod(self, owner: Object, node: str, digest: str) -> Object:
        template = decision.template_for(owner, node, digest)
        return pod_of(owner, self._control.name(f"{owner['metadata']['name']}-"), template)

    def _not_too_often(
        self, key: str, owner: Object, chosen: Iterable[Object]
    ) -> tuple[list[Object], Result | None]:
        """A pod that ends again and again is replaced after growing waits, per node."""
        due, waits, now_s = [], [], self.clock.now()
        for pod in chosen:
            if not pods.is_terminated(pod):
                due.append(pod)
                continue
            node = decision.node_of(pod)
            count, until_s = self._ended.get((key, node), (0, 0.0))
            if until_s > now_s:
                waits.append(until_s - now_s)
                continue
            wait_s = min(BACKOFF_S[0] * 2.0 ** min(count, 20), BACKOFF_S[1])
            self._ended[key, node] = (count + 1, now_s + wait_s)
            failed = pods.phase(pod) == "Failed"
            word, kind = ("failed", "Warning") if failed else ("succeeded", "Normal")
            message = (
                f"Found {word} daemon pod {meta.key(pod)} on node {node}, will try to delete it"
            )
            self.events.event(owner, kind, f"{word.capitalize()}DaemonPod", message)
            due.append(pod)
        return due, Result(min(waits)) if waits else None

    async def _write_status(
        self, owner: Object, by_node: Mapping[str, list[Object]], digest: str
    ) -> None:
        nodes, now_s = self._nodes.list(), self.clock.wall()
        old = owner.get("status") or {}
        status = decision.status_of(owner, nodes, by_node, digest, now_s)
        status |= {k: old[k] for k in ("conditions", "collisionCount") if k in old}
        if status != old:
            new = {**owner, "status": status}
            await self.client.update(DAEMONSETS, new, subresource="status")

    def _when_available(self, owner: Object, mine: Iterable[Object]) -> Result | None:
        min_ready_s = float(owner["spec"].get("minReadySeconds") or 0)
        now_s = self.clock.wall()
        waits = [pods.available_in_s(pod, min_ready_s, now_s) for pod in mine]
        known = [wait for wait in waits if wait is not None]
        return Result(min(known) + 0.05) if known else None


def _by_node(mine: Iterable[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in mine:
        found.setdefault(decision.node_of(pod), []).append(pod)
    return found


def _owner(revision: Object) -> Iterable[str]:
    owner = meta.controller_of(revision)
    if owner is None or owner["kind"] != "DaemonSet":
        return []
    return [f"{meta.namespace(revision)}/{owner['name']}"]
