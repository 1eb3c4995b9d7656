"""The status of a pod as this node sees it: phase, conditions, containers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.kubelet import resizing
from cluster.kubelet.pod_worker import (
    DEADLINE_MESSAGE,
    Decision,
    Object,
    Observed,
    all_containers,
    app_containers,
    ephemeral_containers,
    init_containers,
    init_failed,
    is_initialized,
    is_past_deadline,
    is_sidecar,
    is_terminal,
    should_restart,
)
from cluster.kubelet.runtimes.base import Container
from cluster.machinery import meta

IMAGE_IDS = {"process": "host://rootfs", "simulated": "simulated://image"}
"""By runtime: what stands for the image where a runtime has none."""


def build(
    pod: Object, observed: Observed, decision: Decision, now_s: float, host_ip: str
) -> Object:
    """The part of `status` that the kubelet owns. `decision` is what `decide` said just now."""
    old = pod.get("status") or {}
    init = _statuses(init_containers(pod), pod, observed, decision)
    apps = _statuses(app_containers(pod), pod, observed, decision)
    status = _seen(pod) | {"startTime": old.get("startTime") or meta.format_time(now_s)}
    status |= _verdict(pod, observed, now_s)
    status |= {"hostIP": host_ip, "hostIPs": [{"ip": host_ip}]}
    if observed.pod_ip:
        status |= {"podIP": observed.pod_ip, "podIPs": [{"ip": observed.pod_ip}]}
    if init:
        status["initContainerStatuses"] = init
    ephemeral = _statuses(ephemeral_containers(pod), pod, observed, decision)
    if ephemeral:
        status["ephemeralContainerStatuses"] = [each | {"ready": False} for each in ephemeral]
    status["containerStatuses"] = apps
    status["conditions"] = _conditions(pod, observed, status, now_s)
    return status


def ready_ids(pod: Object) -> set[str]:
    """Of the containers that were ready when the status was written."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return {s.get("containerID", "").rpartition("://")[2] for s in statuses if s["ready"]}


def rejected(pod: Object, reason: str, message: str, now_s: float) -> Object:
    """The status of a pod that this node refuses to run."""
    text = f"Pod was rejected: {message}"
    start = meta.format_time(now_s)
    return {
        **_seen(pod), "phase": "Failed", "reason": reason, "message": text, "startTime": start,
    }  # fmt: skip


def _seen(pod: Object) -> Object:
    """Which generation of the spec the status is about."""
    generation = pod["metadata"].get("generation")
    return {} if generation is None else {"observedGeneration": generation}


def _verdict(pod: Object, observed: Observed, now_s: float) -> Object:
    """Phase, and the reason and message that go with a pod-level failure."""
    old = pod.get("status") or {}
    if is_terminal(pod):
        return {k: old[k] for k in ("phase", "reason", "message") if old.get(k)}
    if any(container.running for container in observed.containers):
        return {"phase": phase(pod, observed)}  # a pod has not failed while anything of it runs
    if (ending := observed.ending) is not None:
        return {"phase": "Failed", "reason": ending.reason, "message": ending.message}
    if is_past_deadline(pod, now_s):
        return {"phase": "Failed", "reason": "DeadlineExceeded", "message": DEADLINE_MESSAGE}
    return {"phase": phase(pod, observed)}


def phase(pod: Object, observed: Observed) -> str:
    """Upstream's getPhase, for what the containers say."""
    if init_failed(pod, observed):
        return "Failed"
    if not is_initialized(pod, observed):
        return "Pending"
    last = [observed.latest(container["name"]) for container in app_containers(pod)]
    if any(container is None for container in last):
        return "Pending"
    known = [container for container in last if container is not None]
    sidecars = [observed.latest(c["name"]) for c in init_containers(pod) if is_sidecar(c)]
    if any(c.running for c in known) or any(c and c.running for c in sidecars):
        return "Running"
    return _phase_of_ended(pod, known)


def _phase_of_ended(pod: Object, ended: Sequence[Container]) -> str:
    deleting = pod["metadata"].get("deletionTimestamp") is not None
    by_name = {container["name"]: container for container in app_containers(pod)}
    again = [each for each in ended if should_restart(pod, by_name[each.name], each)]
    if again and not deleting:
        return "Running"
    return "Succeeded" if all(each.exit_code == 0 for each in ended) else "Failed"


def _statuses(
    containers: Sequence[Object], pod: Object, observed: Observed, decision: Decision
) -> list[Object]:
    return [_container_status(container, pod, observed, decision) for container in containers]


def _container_status(
    container: Object, pod: Object, observed: Observed, decision: Decision
) -> Object:
    name = container["name"]
    attempts = observed.attempts(name)
    last = attempts[-1] if attempts else None
    waiting = _waiting(container, pod, observed, decision)
    previous = last if waiting and last else (attempts[-2] if len(attempts) > 1 else None)
    is_init_step = container in init_containers(pod) and not is_sidecar(container)
    status: Object = {
        "name": name,
        "state": {"waiting": waiting} if waiting else _state(last, observed.runtime),
        "lastState": _state(previous, observed.runtime) if previous else {},
        "ready": _is_done_step(last) if is_init_step else is_ready(container, observed),
        "restartCount": last.attempt if last else 0,
        "image": container.get("image", ""),
        "imageID": (last.image_id or IMAGE_IDS.get(observed.runtime, "")) if last else "",
        "started": observed.is_started(name),
    }
    if last:
        status["containerID"] = f"{observed.runtime}://{last.container_id}"
    return status | resizing.told(name, observed.allotment)


def _is_done_step(last: Container | None) -> bool:
    return last is not None and not last.running and last.exit_code == 0


def is_ready(container: Object, observed: Observed) -> bool:
    last = observed.latest(container["name"])
    health = observed.health.get(last.container_id) if last and last.running else None
    return health is not None and health.started and health.ready


def _waiting(
    container: Object, pod: Object, observed: Observed, decision: Decision
) -> Mapping[str, str] | None:
    """The waiting state, or None if an attempt's own state is what counts."""
    name = container["name"]
    last, failure = observed.latest(name), observed.failures.get(name)
    if last is not None and last.running:
        return None
    if failure is not None:
        message = {"message": failure.message} if failure.message else {}
        return {"reason": failure.reason} | message
    if last is None:
        has_init = bool(init_containers(pod))
        waits = has_init and not is_initialized(pod, observed)
        return {"reason": "PodInitializing" if waits else "ContainerCreating"}
    if name in decision.waiting:
        return _crash_loop(pod, observed, name)
    return None


def _crash_loop(pod: Object, observed: Observed, name: str) -> Mapping[str, str]:
    entry = observed.backoffs.get(name)
    delay = f"{entry.delay_s:g}s" if entry else "0s"
    metadata = pod["metadata"]
    who = f"{metadata['name']}_{metadata.get('namespace', 'default')}({metadata['uid']})"
    message = f"back-off {delay} restarting failed container={name} pod={who}"
    return {"reason": "CrashLoopBackOff", "message": message}


def _state(container: Container | None, runtime: str) -> Object:
    if container is None:
        return {}
    started = meta.format_time(container.started_at_s)
    if container.running:
        return {"running": {"startedAt": started}}
    ended: Object = {
        "exitCode": container.exit_code,
        "reason": container.reason,
        "startedAt": started,
        "finishedAt": meta.format_time(container.finished_at_s),
        "containerID": f"{runtime}://{container.container_id}",
    }
    if container.signal:
        ended["signal"] = container.signal
    if container.message:
        ended["message"] = container.message
    return {"terminated": ended}


def _conditions(pod: Object, observed: Observed, status: Object, now_s: float) -> list[Object]:
    now = status["phase"]
    ready_containers = _containers_ready(pod, observed, now)
    wanted = [
        _flag("PodReadyToStartContainers", bool(observed.pod_ip) and now in ("Pending", "Running")),
        _initialized(pod, observed, now),
        _ready(pod, ready_containers),
        {"type": "ContainersReady"} | ready_containers,
        _flag("PodScheduled", True),
    ]
    if observed.ending is not None:
        why = {"reason": "TerminationByKubelet", "message": observed.ending.message}
        wanted.append(_flag("DisruptionTarget", True) | why)
    wanted += resizing.conditions(observed.allotment)
    return [_with_times(pod, condition, now_s) for condition in wanted]


def _flag(type_: str, value: bool) -> Object:
    return {"type": type_, "status": "True" if value else "False"}


def _initialized(pod: Object, observed: Observed, now: str) -> Object:
    if now == "Succeeded":
        return _flag("Initialized", True) | {"reason": "PodCompleted"}
    if is_initialized(pod, observed):
        return _flag("Initialized", True)
    open_names = [
        container["name"]
        for container in init_containers(pod)
        if not (
            observed.is_started(container["name"])
            if is_sidecar(container)
            else _is_done_step(observed.latest(container["name"]))
        )
    ]
    message = f"containers with incomplete status: [{' '.join(open_names)}]"
    return _flag("Initialized", False) | {"reason": "ContainersNotInitialized", "message": message}


def _containers_ready(pod: Object, observed: Observed, now: str) -> Object:
    """Status, reason and message without the type."""
    if now == "Succeeded":
        return {"status": "False", "reason": "PodCompleted"}
    if now == "Failed":
        return {"status": "False", "reason": "PodFailed"}
    counted = [c for c in all_containers(pod) if c in app_containers(pod) or is_sidecar(c)]
    unready = [c["name"] for c in counted if not is_ready(c, observed)]
    if not unready:
        return {"status": "True"}
    message = f"containers with unready status: [{' '.join(unready)}]"
    return {"status": "False", "reason": "ContainersNotReady", "message": message}


def _ready(pod: Object, containers: Object) -> Object:
    if containers["status"] != "True":
        return {"type": "Ready"} | containers
    problems = []
    for gate in pod["spec"].get("readinessGates") or ():
        type_ = gate["conditionType"]
        found = meta.condition(pod, type_)
        if found is None:
            problems.append(
                f'corresponding condition of pod readiness gate "{type_}" does not exist.'
            )
        elif found.get("status") != "True":
            is_now = found.get("status")
            problems.append(
                f'the status of pod readiness gate "{type_}" is not "True", but {is_now}'
            )
    if not problems:
        return _flag("Ready", True)
    reason: dict[str, Any] = {"reason": "ReadinessGatesNotReady", "message": ", ".join(problems)}
    return _flag("Ready", False) | reason


def _with_times(pod: Object, condition: Object, now_s: float) -> Object:
    """lastTransitionTime stays while the status stays."""
    old = meta.condition(pod, condition["type"]) or {}
    same = old.get("status") == condition["status"] and old.get("lastTransitionTime")
    changed = old["lastTransitionTime"] if same else meta.format_time(now_s)
    return condition | {"lastProbeTime": None, "lastTransitionTime": changed}
