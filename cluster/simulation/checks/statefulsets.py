"""StatefulSets: in order, one at a time, and never two containers of one identity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import meta
from cluster.simulation.checks import losses
from cluster.simulation.checks.history import (
    WINDOW_S,
    Change,
    History,
    is_going,
    is_ready,
    replicas,
)

Object = dict[str, Any]


def ordinal(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


def is_parallel(spec: Object) -> bool:
    return spec.get("podManagementPolicy") == "Parallel"


class StatefulSets:
    def __init__(self) -> None:
        self._ready_s: dict[str, float] = {}
        """By namespace/name: when that pod was last ready (until now, if it is)."""
        self._going_s: dict[str, float] = {}

    def check(self, change: Change, history: History) -> Iterator[str]:
        if change.kind != "Pod":
            return
        name = meta.key(change.obj)
        if change.old is not None and is_ready(change.old):
            self._ready_s[name] = change.now_s
        reference = meta.controller_of(change.obj)
        if reference is None or reference["kind"] != "StatefulSet":
            return
        owner = history.alive(reference["uid"])
        if owner is None or is_going(owner) or is_parallel(owner["spec"]):
            return
        if change.old is None:
            yield from self._created(change, owner, history)
        elif losses.taken_by_controller(change, history):
            yield from self._taken(change, owner, history)

    def _created(self, change: Change, owner: Object, history: History) -> Iterator[str]:
        """All below it are ready, or were a moment ago."""
        pods = {ordinal(p): p for p in history.of(owner["metadata"]["uid"], "Pod")}
        specs = history.recent_specs(owner, change.now_s)
        start = max(int((s.get("ordinals") or {}).get("start") or 0) for s in specs)
        for number in range(start, ordinal(change.obj)):
            if number in pods and is_ready(pods[number]):
                continue
            name = f"{meta.namespace(owner)}/{owner['metadata']['name']}-{number}"
            if change.now_s - self._ready_s.get(name, -1e9) > WINDOW_S:
                yield f"{change.key} is created before {name} was ready"

    def _taken(self, change: Change, owner: Object, history: History) -> Iterator[str]:
        """One at a time: nothing else of the set is down, unless it was lost by itself."""
        uid = owner["metadata"]["uid"]
        mine = history.of(uid, "Pod")
        least = min(map(replicas, history.recent_specs(owner, change.now_s))) - 1
        ready, lost = sum(map(is_ready, mine)), history.losses(uid, change.now_s)
        if ready + lost < min(least, len(mine) - 1):
            yield f"{change.key} is taken: {ready} ready (+{lost} lost) of {least} needed"


def same_identity(
    node: str, started: Any, containers: dict[str, dict[str, Any]], forced: set[str]
) -> str | None:
    """A container begins to run: does another one with its name still run elsewhere?"""
    for other, running in containers.items():
        for container in running.values():
            same = (container.namespace, container.name) == (started.namespace, started.name)
            other_pod = container.uid != started.uid and container.uid not in forced
            if same and container.running and other_pod:
                return f"{started.namespace}/{started.name} runs on {node} and on {other}"
    return None
