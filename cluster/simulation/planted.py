"""Bugs to plant in controllers and API servers: each breaks one rule, and a seed has to show it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from actors.simulation.patching import Patch, replace, several
from cluster.apiserver.handlers import eviction
from cluster.client import leader_election, reflector, term
from cluster.controllers import (
    adoption,
    daemonset_decision,
    deployment,
    deployment_rollout,
    garbage_collector,
    informers,
    job,
    job_status,
    namespace,
    pod_gc,
    pods,
    statefulset_decision,
    taint_eviction,
)
from cluster.controllers.expectations import Expectations
from cluster.storage import fencing
from raftstore.types import Compare


def _others_each_time(original: Any) -> Any:
    def to_delete(active: Any, related: Any, count: int, now_s: float) -> Any:
        turned = sorted(active, key=lambda pod: hash((pod["metadata"]["uid"], now_s)))
        return turned[:count]

    return to_delete


def _surge_and_one(original: Any) -> Any:
    def limits(owner: Any) -> tuple[int, int]:
        surge, unavailable = original(owner)
        return surge + 1, unavailable

    return limits


def _down_and_one(original: Any) -> Any:
    def limits(*args: Any) -> tuple[int, int]:
        surge, unavailable = original(*args)
        return surge, unavailable + 1

    return limits


async def _anything_is_there(client: Any, owner: Any) -> None:
    """An owner need not exist to adopt."""


def _let_go_uncounted(original: Any) -> Any:
    def enter(view: Any, status: Any, pod: Any, failed: bool, end: Any, new: Any) -> None:
        if int(pod["metadata"]["uid"][:2], 16) % 3:
            original(view, status, pod, failed, end, new)

    return enter


def _own_write_unseen(original: Any) -> Any:
    def init(self: Any, context: Any) -> None:
        original(self, context)
        self._written = mock.MagicMock()
        self._written.get.return_value = 0
        self._untracked = mock.MagicMock()
        self._untracked.__contains__.return_value = False

    return init


def _no_order(original: Any) -> Any:
    return lambda owner: True


def _without_waiting(original: Any) -> Any:
    def held(self: Any) -> bool:
        return False

    return held


def _deleted_at_once(original: Any) -> Any:
    async def evict(self: Any, pod: Any) -> None:
        metadata = pod["metadata"]
        await taint_eviction.mark_disrupted(self.context, pod, "DeletionByTaintManager", "gone")
        await self.client.delete("pods", metadata["name"], metadata["namespace"], grace_period_s=0)

    return evict


def _as_cached(original: Any) -> Any:
    async def ask(self: Any, resource: str, key: str) -> Any:
        return self.of(resource).get(key)

    return ask


def _never_there(original: Any) -> Any:
    async def owner(self: Any, node: Any, reference: Any) -> Any:
        found = await original(self, node, reference)
        return None if found is not None and len(node.owners) > 1 else found

    return owner


def _left_behind(original: Any) -> Any:
    async def empty(self: Any, name: str) -> Any:
        return namespace.Progress()

    return empty


def _never_relisted(original: Any) -> Any:
    async def failed(self: Any, error: Exception) -> None:
        if getattr(error, "code", 0) != 410 and self._version.isdigit():
            self._version = str(int(self._version) + 3)
        await original(self, error)

    return failed


def _unfenced(original: Any) -> Any:
    async def txn(self: Any, compare: Any, *args: Any) -> Any:
        named = Compare(self._key, "version", "!=", -1)
        return await self._store.txn([*compare, named], *args)

    return txn


def _never(original: Any) -> Any:
    return lambda *args: False


def _nothing(original: Any) -> Any:
    return lambda *args: None


def _always(original: Any) -> Any:
    return lambda *args: True


def _all_old_at_once(original: Any) -> Any:
    return lambda dep, new, old: {s["metadata"]["name"]: 0 for s in old if s["spec"]["replicas"]}


PLANTED: dict[str, Patch] = {
    "expectations off": replace(Expectations, "satisfied", _always),
    "deletes on a stale cache": several(
        replace(Expectations, "expect_deletions", _nothing),
        replace(pods, "to_delete", _others_each_time),
    ),
    "surge off by one": replace(deployment_rollout, "surge_and_unavailable", _surge_and_one),
    "unavailable off by one": replace(deployment_rollout, "surge_and_unavailable", _down_and_one),
    "old pods go all at once": replace(deployment_rollout, "shrink_old", _all_old_at_once),
    "recreate does not wait": replace(deployment.DeploymentController, "_has_running_pods", _never),
    "adopted for an owner that is gone": lambda: mock.patch.object(
        adoption, "_still_there", _anything_is_there
    ),
    "job lets pods go uncounted": replace(job_status, "_enter", _let_go_uncounted),
    "job acts on a status older than its own": replace(
        job.JobController, "__init__", _own_write_unseen
    ),
    "identities in no order": replace(statefulset_decision, "is_parallel", _no_order),
    "a silent node's pods are removed": replace(
        taint_eviction.TaintEvictionController, "_evict", _deleted_at_once
    ),
    "nodes are given up on a stale cache": replace(informers.Informers, "ask", _as_cached),
    "daemons go beyond maxUnavailable": replace(daemonset_decision, "limits", _down_and_one),
    "evictions spend nothing": replace(eviction, "_refuse", _nothing),
    "collected while one owner is left": replace(
        garbage_collector.GarbageCollector, "_owner", _never_there
    ),
    "namespaces end with things in them": replace(
        namespace.NamespaceController, "_empty", _left_behind
    ),
    "a lease is taken while it is held": replace(
        leader_election.LeaderElector, "_held_by_other", _without_waiting
    ),
    "a leader writes on after its term": several(
        replace(term.Term, "check", _nothing), replace(fencing.FencedStore, "txn", _unfenced)
    ),
    "a broken watch goes on too late": replace(reflector.Reflector, "_failed", _never_relisted),
    "pods of nodes that are gone stay": replace(
        pod_gc.PodGarbageCollector, "_keys_of_node", lambda original: lambda self, node: ()
    ),
}


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """The bug is there while this is open."""
    with PLANTED[name]():
        yield
