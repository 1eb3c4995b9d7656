"""The row of a pod; STATUS follows upstream's printPod case by case."""

from __future__ import annotations

from typing import Any

from cluster.machinery import meta
from cluster.machinery.printing.columns import AGE, NAME, NONE, Cells, Column, Printer
from cluster.machinery.printing.duration import age, since

COLUMNS = (
    NAME,
    Column("Ready"),
    Column("Status"),
    Column("Restarts"),
    AGE,
    Column("IP", wide=True),
    Column("Node", wide=True),
    Column("Nominated Node", wide=True),
    Column("Readiness Gates", wide=True),
)


def row(pod: meta.Object, now_s: float) -> Cells:
    spec, status = pod.get("spec", {}), pod.get("status", {})
    story = _Story(pod)
    return [
        pod["metadata"]["name"],
        f"{story.ready}/{story.total}",
        story.reason,
        story.restarts_text(now_s),
        age(pod, now_s),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(pod),
    ]


PRINTER = Printer(COLUMNS, row)


class _Story:
    """Reads container statuses into the few words that a person wants."""

    def __init__(self, pod: meta.Object) -> None:
        spec, status = pod.get("spec", {}), pod.get("status", {})
        self._pod, self._status = pod, status
        self._sidecars = {
            container["name"]
            for container in spec.get("initContainers") or []
            if container.get("restartPolicy") == "Always"
        }
        self.total = len(spec.get("containers") or []) + len(self._sidecars)
        self.ready = self.restarts = self._sidecar_restarts = 0
        self._last_restart = ""
        self.reason: str = status.get("reason") or status.get("phase") or ""
        if _condition_reason(pod, "PodScheduled") == "SchedulingGated":
            self.reason = "SchedulingGated"
        initializing = self._read_init_containers(len(spec.get("initContainers") or []))
        if not initializing or _is_true(pod, "Initialized"):
            self._read_containers()
        if pod["metadata"].get("deletionTimestamp"):
            self._read_deletion()

    def _read_init_containers(self, total: int) -> bool:
        """Whether one of them still has to end; the first such decides the reason."""
        for index, container in enumerate(self._status.get("initContainerStatuses") or []):
            self._count_restarts(container, sidecar=container["name"] in self._sidecars)
            state = container.get("state") or {}
            ended, waiting = state.get("terminated"), state.get("waiting") or {}
            if ended and ended.get("exitCode", 0) == 0:
                continue
            if container["name"] in self._sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            if ended:
                self.reason = f"Init:{_ended_reason(ended)}"
            elif waiting.get("reason") not in (None, "", "PodInitializing"):
                self.reason = f"Init:{waiting['reason']}"
            else:
                self.reason = f"Init:{index}/{total}"
            return True
        return False

    def _read_containers(self) -> None:
        self.restarts = self._sidecar_restarts
        running = False
        for container in reversed(self._status.get("containerStatuses") or []):
            self._count_restarts(container, sidecar=False)
            state = container.get("state") or {}
            waiting, ended = state.get("waiting") or {}, state.get("terminated")
            if waiting.get("reason"):
                self.reason = waiting["reason"]
            elif ended:
                self.reason = _ended_reason(ended)
            elif container.get("ready") and "running" in state:
                running = True
                self.ready += 1
        if self.reason == "Completed" and running:
            self.reason = "Running" if _is_true(self._pod, "Ready") else "NotReady"

    def _count_restarts(self, container: dict[str, Any], *, sidecar: bool) -> None:
        count = container.get("restartCount", 0)
        self.restarts += count
        self._sidecar_restarts += count if sidecar else 0
        ended = (container.get("lastState") or {}).get("terminated") or {}
        self._last_restart = max(self._last_restart, ended.get("finishedAt") or "")

    def _read_deletion(self) -> None:
        if self._status.get("reason") == "NodeLost":
            self.reason = "Unknown"
        elif self._status.get("phase") not in ("Succeeded", "Failed"):
            self.reason = "Terminating"

    def restarts_text(self, now_s: float) -> str:
        if self.restarts and self._last_restart:
            return f"{self.restarts} ({since(self._last_restart, now_s)} ago)"
        return str(self.restarts)


def _ended_reason(ended: dict[str, Any]) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _is_true(pod: meta.Object, type_: str) -> bool:
    return (meta.condition(pod, type_) or {}).get("status") == "True"


def _condition_reason(pod: meta.Object, type_: str) -> str:
    return str((meta.condition(pod, type_) or {}).get("reason", ""))


def _readiness_gates(pod: meta.Object) -> str:
    gates = pod.get("spec", {}).get("readinessGates") or []
    if not gates:
        return NONE
    return f"{sum(_is_true(pod, gate['conditionType']) for gate in gates)}/{len(gates)}"
