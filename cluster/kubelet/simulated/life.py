"""The life of one simulated pod: containers that start, run, fail and end as its behaviour says.

Pure: `advance` is a function of the life so far, the pod and the time. What to start and to end is
decided by the real kubelet's `pod_worker`; here it comes true, at the times that the behaviour has
drawn. It may be called at any moment and as often as one likes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cluster.kubelet import pod_status, pod_worker
from cluster.kubelet.backoff import Backoff, Limits
from cluster.kubelet.pod_worker import Finished, Health, Kill, Observed, Start, StartFailure
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.simulated.behaviour import Behaviour, Exit, StartError
from cluster.machinery import meta

Object = dict[str, Any]

RUNTIME = "simulated"
TERMINATED, KILLED = 143, 137
_PASSES_MAX = 64
_KEPT_ATTEMPTS = 2


@dataclass(frozen=True)
class End:
    """How and when a running container ends (wall seconds)."""

    at_s: float
    exit_code: int


@dataclass(frozen=True)
class Life:
    """`began_s`: when the node took the pod. `kills` is by container id: of those that were asked
    to end. What follows is by container name: creations that are under way or failed, how often
    they did, and back-offs. `verdict` is
    the phase, reason and message of an eviction. `status` is what was decided last."""

    began_s: float
    pod_ip: str = ""
    containers: tuple[Container, ...] = ()
    kills: Mapping[str, End] = field(default_factory=dict)
    due: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, StartFailure] = field(default_factory=dict)
    tries: Mapping[str, int] = field(default_factory=dict)
    backoffs: Mapping[str, Backoff] = field(default_factory=dict)
    verdict: Mapping[str, str] = field(default_factory=dict)
    status: Object = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """`finished`: nothing runs and nothing ever will. `wake_at_s`: when to advance again if
    nothing happens before; None: never."""

    life: Life
    finished: bool
    wake_at_s: float | None


def advance(
    life: Life,
    pod: Object,
    behaviour: Behaviour,
    now_s: float,
    host_ip: str,
    limits: Limits | None = None,
) -> Step:
    """Everything that has come true by `now_s`. The new life has the status to report."""
    return _Advance(life, pod, behaviour, now_s, limits or Limits()).run(host_ip)


class _Advance:
    def __init__(
        self, life: Life, pod: Object, behaviour: Behaviour, now_s: float, limits: Limits
    ) -> None:
        self._life = life
        self._given = pod
        self._behaviour = behaviour
        self._now_s = now_s
        self._limits = limits
        self._key = meta.key(pod)
        self._containers = list(life.containers)
        self._kills = dict(life.kills)
        self._due = dict(life.due)
        self._failures = dict(life.failures)
        self._tries = dict(life.tries)
        self._backoffs = dict(life.backoffs)
        self._verdict = dict(life.verdict)

    def run(self, host_ip: str) -> Step:
        self._evict()
        for _ in range(_PASSES_MAX):
            self._end_what_is_due()
            pod, observed = self._pod(), self._observed()
            decision = pod_worker.decide(pod, observed, self._now_s, self._limits)
            if not any([self._act(action) for action in decision.actions]):
                break
        status = pod_status.build(pod, observed, decision, self._now_s, host_ip)
        finished = any(isinstance(action, Finished) for action in decision.actions)
        wake_at_s = min(self._times(decision.wake_at_s, finished), default=None)
        return Step(self._changed(status), finished, wake_at_s)

    def _changed(self, status: Object) -> Life:
        return replace(
            self._life,
            containers=tuple(self._containers),
            kills=self._kills,
            due=self._due,
            failures=self._failures,
            tries=self._tries,
            backoffs=self._backoffs,
            verdict=self._verdict,
            status=status,
        )

    def _times(self, decided_s: float | None, finished: bool) -> Iterator[float]:
        """Whatever comes true later, without anybody asking."""
        if finished:
            return
        if decided_s is not None:
            yield decided_s
        yield from (end.at_s for c in self._running() if (end := self._end_of(c)) is not None)
        yield from self._due.values()
        yield from (at_s for c in self._running() if (at_s := self._ready_s(c)) > self._now_s)
        evict_s = self._evict_s()
        if evict_s is not None and not self._verdict:
            yield evict_s

    def _running(self) -> Iterable[Container]:
        return (container for container in self._containers if container.running)

    def _pod(self) -> Object:
        """The pod with the last status that was decided, which the API may not show yet."""
        began = {"startTime": meta.format_time(self._life.began_s)}
        status = began | (self._given.get("status") or {})
        own = self._life.status
        if own:
            types = {condition["type"] for condition in own["conditions"]}
            others = [c for c in status.get("conditions") or () if c.get("type") not in types]
            status |= own | {"conditions": [*own["conditions"], *others]}
        return self._given | {"status": status | self._verdict}

    def _observed(self) -> Observed:
        return Observed(
            containers=self._containers,
            health={
                container.container_id: Health(ready=self._ready_s(container) <= self._now_s)
                for container in self._running()
            },
            failures=self._failures,
            backoffs=self._backoffs,
            pod_ip=self._life.pod_ip,
            runtime=RUNTIME,
        )

    def _draw(self, *what: object) -> float:
        return self._behaviour.draw(self._key, *what)

    def _ready_s(self, container: Container) -> float:
        share = self._draw("ready", container.name, container.attempt)
        return container.started_at_s + self._behaviour.ready.at(share)

    def _evict_s(self) -> float | None:
        eviction = self._behaviour.evict
        if eviction is None or self._draw("evict?") >= eviction.share:
            return None
        return self._life.began_s + eviction.after.at(self._draw("evict"))

    def _evict(self) -> None:
        eviction, at_s = self._behaviour.evict, self._evict_s()
        ended = pod_worker.is_terminal(self._pod())
        if eviction is not None and at_s is not None and at_s <= self._now_s and not ended:
            self._verdict = {"phase": "Failed", "reason": "Evicted", "message": eviction.message}

    def _end_what_is_due(self) -> None:
        for index, container in enumerate(self._containers):
            end = self._end_of(container) if container.running else None
            if end is not None and end.at_s <= self._now_s:
                self._kills.pop(container.container_id, None)
                self._containers[index] = _ended(container, end)

    def _end_of(self, container: Container) -> End | None:
        """Whichever comes first of its own end and the one that was asked for."""
        asked, own = self._kills.get(container.container_id), self._own_end(container)
        found = [end for end in (own, asked) if end is not None]
        return min(found, key=lambda end: end.at_s, default=None)

    def _act(self, action: Start | Kill | Finished) -> bool:
        """Whether the world is another one now."""
        if isinstance(action, Start):
            return self._start(action)
        return isinstance(action, Kill) and self._stop(action)

    def _start(self, action: Start) -> bool:
        name = action.name
        if not action.attempt and not self._is_due(name):
            return False
        if self._fails(name):
            return True
        self._due.pop(name, None)
        self._failures.pop(name, None)
        if action.backoff is not None:
            self._backoffs[name] = action.backoff
        container = _started(self._given, action, self._now_s)
        self._containers = [*self._without_old(name), container]
        return True

    def _is_due(self, name: str) -> bool:
        """Creating the first attempt takes its time."""
        if name not in self._due:
            delay_s = self._behaviour.start.at(self._draw("start", name))
            self._due[name] = self._now_s + delay_s
        return self._due[name] <= self._now_s

    def _fails(self, name: str) -> bool:
        error, tried = self._behaviour.fail_start, self._tries.get(name, 0)
        if error is None or not self._applies(error, "failStart", name, tried):
            return False
        self._tries[name] = tried + 1
        self._due.pop(name, None)
        retry_at_s = self._now_s + self._limits.initial_s
        self._failures[name] = StartFailure(error.reason, error.message, retry_at_s)
        return True

    def _applies(self, part: Exit | StartError, what: str, name: str, number: int) -> bool:
        in_time = part.attempts is None or number < part.attempts
        return in_time and self._draw(what, name, number) < part.share

    def _without_old(self, name: str) -> list[Container]:
        old = [c for c in self._containers if c.name == name][: 1 - _KEPT_ATTEMPTS or None]
        return [container for container in self._containers if container not in old]

    def _own_end(self, container: Container) -> End | None:
        """The end that this container comes to by itself; init containers do at once."""
        name, number = container.name, container.attempt
        init = {c["name"]: c for c in pod_worker.init_containers(self._given)}
        if name in init:
            return None if pod_worker.is_sidecar(init[name]) else End(container.started_at_s, 0)
        ends = self._behaviour.exit
        if ends is None or not self._applies(ends, "exit?", name, number):
            return None
        after_s = ends.after.at(self._draw("exit", name, number))
        return End(container.started_at_s + after_s, ends.code)

    def _stop(self, action: Kill) -> bool:
        if action.container_id in self._kills:
            return False
        takes_s = self._behaviour.stop.at(self._draw("stop", action.name))
        code = TERMINATED if takes_s <= action.grace_s else KILLED
        end = End(self._now_s + min(takes_s, action.grace_s), code)
        self._kills[action.container_id] = end
        return True


def container_id(pod: Object, name: str, attempt: int) -> str:
    text = f"{pod['metadata']['uid']}\0{name}\0{attempt}"
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _started(pod: Object, action: Start, now_s: float) -> Container:
    return Container(
        pod_uid=pod["metadata"]["uid"],
        name=action.name,
        attempt=action.attempt,
        container_id=container_id(pod, action.name, action.attempt),
        log_path="",
        running=True,
        started_at_s=now_s,
    )


def _ended(container: Container, end: End) -> Container:
    return replace(
        container,
        running=False,
        finished_at_s=max(end.at_s, container.started_at_s),
        exit_code=end.exit_code,
        reason="Completed" if end.exit_code == 0 else "Error",
    )
