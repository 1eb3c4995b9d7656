"""The life of a pod that this process did not see begin, from the status it was given. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.kubelet import pod_worker
from cluster.kubelet.backoff import Backoff, Limits
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.simulated.life import RUNTIME, Life
from cluster.machinery import meta

Object = dict[str, Any]


def adopted(pod: Object, now_s: float) -> Life:
    """What its status tells goes on; times of ends are drawn again and come out the same."""
    status = pod.get("status") or {}
    started = status.get("startTime")
    began_s = meta.parse_time(started) if started else now_s
    containers = tuple(_containers(pod))
    backoffs = {c.name: _backoff(c) for c in containers if c.attempt}
    return Life(began_s, status.get("podIP") or "", containers, backoffs=backoffs)


def _backoff(container: Container) -> Backoff:
    """As if every restart so far had come soon after the one before."""
    limits = Limits()
    delay_s = min(limits.initial_s * 2.0 ** min(container.attempt - 1, 60), limits.max_s)
    return Backoff(delay_s, container.started_at_s)


def is_told(pod: Object, status: Object) -> bool:
    """Whether the API has this status already; conditions of others beside it do not matter."""
    known = pod.get("status") or {}
    plain = all(_plain(known.get(k)) == _plain(v) for k, v in status.items() if k != "conditions")
    told = {condition["type"]: condition for condition in known.get("conditions") or ()}
    return plain and all(
        _plain(told.get(condition["type"])) == _plain(condition)
        for condition in status.get("conditions") or ()
    )


def is_all_seen(pod: Object, written: Object, status: Object) -> bool:
    """Whether `written`, the pod with our `status`, has nothing new but that: who wrote between
    our look at `pod` and our own write is in there too, and no other event tells of it."""
    return _of_others(pod, status) == _of_others(written, status)


def _of_others(pod: Object, status: Object) -> Object:
    """What others write. (A changed spec shows in the generation.)"""
    ours = {condition["type"] for condition in status.get("conditions") or ()}
    known = (pod.get("status") or {}).get("conditions") or ()
    passing = ("resourceVersion", "managedFields")
    metadata = {key: v for key, v in pod["metadata"].items() if key not in passing}
    return {"metadata": metadata, "conditions": [c for c in known if c["type"] not in ours]}


def _plain(value: Any) -> Any:
    """Without what the API leaves out: nothing, and empty."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items() if v not in (None, {}, "", [])}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _containers(pod: Object) -> Iterator[Container]:
    status = pod.get("status") or {}
    told = {
        entry["name"]: entry
        for part in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(part) or ()
    }
    for container in pod_worker.all_containers(pod):
        entry = told.get(container["name"])
        if entry is not None:
            yield from _attempts(pod, entry)


def _attempts(pod: Object, entry: Object) -> Iterator[Container]:
    """The last attempt and the one before, as far as their states say when they ran."""
    number = int(entry.get("restartCount") or 0)
    state, last = entry.get("state") or {}, entry.get("lastState") or {}
    if "waiting" in state:
        state, last = last, {}
    if last.get("terminated") and number:
        yield _container(pod, entry["name"], number - 1, last)
    if state.get("running") or state.get("terminated"):
        own_id = str(entry.get("containerID") or "").removeprefix(f"{RUNTIME}://")
        yield _container(pod, entry["name"], number, state, own_id)


def _container(pod: Object, name: str, attempt: int, state: Object, own_id: str = "") -> Container:
    running, ended = state.get("running"), state.get("terminated") or {}
    own_id = own_id or str(ended.get("containerID") or "").removeprefix(f"{RUNTIME}://")
    started = (running or ended).get("startedAt")
    finished = ended.get("finishedAt")
    return Container(
        pod_uid=pod["metadata"]["uid"],
        name=name,
        attempt=attempt,
        container_id=own_id,
        log_path="",
        running=running is not None,
        started_at_s=meta.parse_time(started) if started else 0.0,
        finished_at_s=meta.parse_time(finished) if finished else 0.0,
        exit_code=int(ended.get("exitCode") or 0),
        reason=str(ended.get("reason") or ""),
    )
