"""What to do next for one pod: a pure function of the pod, its containers and the time.

`decide` is level-triggered. It may be called at any moment, again and again, after a restart of
the kubelet too, and always answers with what is missing: containers to start or end, the status
to report, and when to look again if nothing happens before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.kubelet import backoff
from cluster.kubelet.backoff import Backoff, Limits
from cluster.kubelet.resizing import Allotment
from cluster.kubelet.runtimes.base import Container
from cluster.machinery import meta

Object = dict[str, Any]

DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True)
class Health:
    """What the probes of a running container say; without a probe, what holds by itself."""

    started: bool = True
    live: bool = True
    ready: bool = True


@dataclass(frozen=True)
class StartFailure:
    """A container could not be created (no attempt of it exists); tried again at `retry_at_s`."""

    reason: str
    message: str
    retry_at_s: float


@dataclass(frozen=True)
class Ending:
    """The node ends the pod, for good: it fails with this reason once nothing of it runs."""

    reason: str
    message: str
    grace_s: float


@dataclass(frozen=True)
class Observed:
    """`containers`: all known attempts, oldest first. `health` is by container id, the others
    by container name. A running container that `health` lacks has not been started fully yet.
    `runtime` is the name of whatever runs them."""

    containers: Sequence[Container] = ()
    health: Mapping[str, Health] = field(default_factory=dict)
    failures: Mapping[str, StartFailure] = field(default_factory=dict)
    backoffs: Mapping[str, Backoff] = field(default_factory=dict)
    pod_ip: str = ""
    runtime: str = "process"
    ending: Ending | None = None
    allotment: Allotment | None = None

    def latest(self, name: str) -> Container | None:
        return self.attempts(name)[-1] if self.attempts(name) else None

    def attempts(self, name: str) -> list[Container]:
        return [container for container in self.containers if container.name == name]

    def is_started(self, name: str) -> bool:
        found = self.latest(name)
        health = self.health.get(found.container_id) if found and found.running else None
        return health is not None and health.started


@dataclass(frozen=True)
class Start:
    """Start attempt number `attempt` of a container; `backoff` is to be remembered for it."""

    name: str
    attempt: int
    backoff: Backoff | None = None


@dataclass(frozen=True)
class Kill:
    """End a container: preStop hook and SIGTERM, then SIGKILL after `grace_s`."""

    container_id: str
    name: str
    grace_s: float
    message: str


@dataclass(frozen=True)
class Finished:
    """Nothing runs and nothing ever will: the pod can be released, and deleted if asked for."""


Action = Start | Kill | Finished


@dataclass(frozen=True)
class Decision:
    """`waiting`: containers held back, by name, until the wall time given."""

    actions: tuple[Action, ...] = ()
    waiting: Mapping[str, float] = field(default_factory=dict)
    wake_at_s: float | None = None


def is_sidecar(container: Object) -> bool:
    """An init container that goes on beside the pod's containers."""
    return container.get("restartPolicy") == "Always"


def init_containers(pod: Object) -> list[Object]:
    return list(pod["spec"].get("initContainers") or ())


def app_containers(pod: Object) -> list[Object]:
    return list(pod["spec"].get("containers") or ())


def ephemeral_containers(pod: Object) -> list[Object]:
    """Added to a running pod to look into it. They run once and count for nothing."""
    return list(pod["spec"].get("ephemeralContainers") or ())


def all_containers(pod: Object) -> list[Object]:
    return [*init_containers(pod), *app_containers(pod), *ephemeral_containers(pod)]


def field_path(pod: Object, name: str) -> str:
    """Where the container of this name is described, for events."""
    kind = "containers"
    if any(c["name"] == name for c in init_containers(pod)):
        kind = "initContainers"
    elif any(c["name"] == name for c in ephemeral_containers(pod)):
        kind = "ephemeralContainers"
    return f"spec.{kind}{{{name}}}"


def restart_policy(pod: Object) -> str:
    return str(pod["spec"].get("restartPolicy") or "Always")


def should_restart(pod: Object, container: Object, ended: Container) -> bool:
    """Whether the policy wants another attempt after this one ended.

    The container's own rules and policy come before the pod's (KEP-5307).
    """
    if any(_matches(rule, ended) for rule in container.get("restartPolicyRules") or ()):
        return True
    policy = container.get("restartPolicy") or restart_policy(pod)
    if policy == "Always":
        goes_on = container in app_containers(pod) or is_sidecar(container)
        return goes_on or ended.exit_code != 0
    return bool(policy == "OnFailure" and ended.exit_code != 0)


def _matches(rule: Object, ended: Container) -> bool:
    """A rule that restarts a container by its exit code."""
    codes = rule.get("exitCodes") or {}
    listed = ended.exit_code in (codes.get("values") or ())
    return rule.get("action") == "Restart" and listed == (codes.get("operator") == "In")


def is_initialized(pod: Object, observed: Observed) -> bool:
    """All init containers are done (sidecars: started), or were once, as the others show."""
    if any(observed.latest(container["name"]) for container in app_containers(pod)):
        return True
    return all(_is_done(container, observed) for container in init_containers(pod))


def _is_done(container: Object, observed: Observed) -> bool:
    if is_sidecar(container):
        return observed.is_started(container["name"])
    last = observed.latest(container["name"])
    return last is not None and not last.running and last.exit_code == 0


def init_failed(pod: Object, observed: Observed) -> bool:
    """An init container failed and is not to be tried again."""
    if is_initialized(pod, observed):
        return False
    for container in init_containers(pod):
        last = observed.latest(container["name"])
        if last is None or last.running or last.exit_code == 0 or is_sidecar(container):
            continue
        if not should_restart(pod, container, last):
            return True
    return False


def is_complete(pod: Object, observed: Observed) -> bool:
    """Every container has ended for good (sidecars do not count), or cannot ever start."""
    if init_failed(pod, observed):
        return True
    for container in app_containers(pod):
        last = observed.latest(container["name"])
        if last is None or last.running or should_restart(pod, container, last):
            return False
    return True


def deadline_s(pod: Object) -> float | None:
    """Wall time at which activeDeadlineSeconds ends; None without, or before the start."""
    seconds = pod["spec"].get("activeDeadlineSeconds")
    started = (pod.get("status") or {}).get("startTime")
    if seconds is None or started is None:
        return None
    return meta.parse_time(started) + float(seconds)


def is_past_deadline(pod: Object, now_s: float) -> bool:
    deadline = deadline_s(pod)
    return deadline is not None and now_s >= deadline


def is_terminal(pod: Object) -> bool:
    """Its phase is one that no pod ever leaves."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def grace_period_s(pod: Object) -> float:
    """How long containers may take to end: as the deletion says, else as the pod says."""
    grace = pod["metadata"].get("deletionGracePeriodSeconds")
    if grace is None:
        grace = pod["spec"].get("terminationGracePeriodSeconds")
    return 30.0 if grace is None else float(grace)


def decide(pod: Object, observed: Observed, now_s: float, limits: Limits | None = None) -> Decision:
    """The next step for a pod at wall time `now_s`."""
    if observed.ending or must_stop(pod, now_s):
        return _stop(pod, observed, list(observed.containers), "Stopping container {}")
    if is_complete(pod, observed):
        return _stop(pod, observed, list(observed.containers), "Stopping container {}")
    return _Sync(pod, observed, now_s, limits or Limits()).run()


def must_stop(pod: Object, now_s: float) -> bool:
    deleting = pod["metadata"].get("deletionTimestamp") is not None
    return deleting or is_terminal(pod) or is_past_deadline(pod, now_s)


def _stop(
    pod: Object, observed: Observed, containers: Sequence[Container], message: str
) -> Decision:
    """All containers at once, then the sidecars one after another, the last started first."""
    running = [container for container in containers if container.running]
    if not running:
        return Decision((Finished(),))
    order = [c["name"] for c in init_containers(pod) if is_sidecar(c)]
    first = [c for c in running if c.name not in order]
    if not first:
        first = [max(running, key=lambda c: order.index(c.name))]
    grace = grace_period_s(pod)
    if observed.ending is not None:
        grace = min(grace, observed.ending.grace_s)
    kills = [Kill(c.container_id, c.name, grace, message.format(c.name)) for c in first]
    return Decision(tuple(kills))


class _Sync:
    """One pass over a pod that should run: collects actions and the time to look again."""

    def __init__(self, pod: Object, observed: Observed, now_s: float, limits: Limits) -> None:
        self._pod = pod
        self._observed = observed
        self._now_s = now_s
        self._limits = limits
        self._actions: list[Action] = []
        self._waiting: dict[str, float] = {}

    def run(self) -> Decision:
        if self._sync_init_containers():
            for container in app_containers(self._pod):
                self._keep_running(container)
        for container in ephemeral_containers(self._pod):
            if self._observed.latest(container["name"]) is None:
                self._start(container["name"], 0, None)
        times = list(self._waiting.values())
        deadline = deadline_s(self._pod)
        if deadline is not None:
            times.append(deadline)
        return Decision(tuple(self._actions), dict(self._waiting), min(times, default=None))

    def _sync_init_containers(self) -> bool:
        """In order; returns whether the pod's own containers may run."""
        initialized = is_initialized(self._pod, self._observed)
        for container in init_containers(self._pod):
            waits = not initialized and not _is_done(container, self._observed)
            if waits or is_sidecar(container):
                self._keep_running(container)
            if waits:
                return False
        return True

    def _keep_running(self, container: Object) -> None:
        name = container["name"]
        last = self._observed.latest(name)
        if last is None:
            self._start(name, 0, None)
        elif last.running:
            self._check_health(container, last)
        elif should_restart(self._pod, container, last):
            self._restart(name, last)

    def _restart(self, name: str, last: Container) -> None:
        entry = self._observed.backoffs.get(name)
        at_s = backoff.restart_at_s(entry, last.finished_at_s, self._limits)
        if at_s > self._now_s:
            self._waiting[name] = at_s
            return
        entry = backoff.after_restart(entry, last.finished_at_s, self._now_s, self._limits)
        self._start(name, last.attempt + 1, entry)

    def _start(self, name: str, attempt: int, entry: Backoff | None) -> None:
        failure = self._observed.failures.get(name)
        if failure is not None and failure.retry_at_s > self._now_s:
            self._waiting[name] = failure.retry_at_s
        else:
            self._actions.append(Start(name, attempt, entry))

    def _check_health(self, container: Object, last: Container) -> None:
        health = self._observed.health.get(last.container_id)
        if health is None or health.live:
            return
        kind = "livenessProbe" if health.started else "startupProbe"
        grace = (container.get(kind) or {}).get("terminationGracePeriodSeconds")
        grace = grace_period_s(self._pod) if grace is None else float(grace)
        what = kind.removesuffix("Probe")
        message = f"Container {last.name} failed {what} probe, will be restarted"
        self._actions.append(Kill(last.container_id, last.name, grace, message))
