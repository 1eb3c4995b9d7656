"""Rows of budgets, autoscalers, classes, quotas and devices."""

from __future__ import annotations

from typing import Any

from cluster.machinery import meta
from cluster.machinery.conversion import autoscalers
from cluster.machinery.printing.columns import AGE, NAME, Cells, Column, Printer
from cluster.machinery.printing.duration import age

UNKNOWN = "<unknown>"


def _budget(obj: meta.Object, now_s: float) -> Cells:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"]["name"],
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        obj.get("status", {}).get("disruptionsAllowed", 0),
        age(obj, now_s),
    ]


def _autoscaler(obj: meta.Object, now_s: float) -> Cells:
    if obj["apiVersion"] == autoscalers.V1:
        obj = autoscalers.to_v2(obj)
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    return [
        obj["metadata"]["name"],
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(spec.get("metrics") or [], status.get("currentMetrics") or []),
        str(spec.get("minReplicas", "<unset>")),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(obj, now_s),
    ]


def _targets(metrics: list[Any], current: list[Any]) -> str:
    """`cpu: 12%/80%`, two of them at most."""
    shown = [_target(m, current[i] if i < len(current) else {}) for i, m in enumerate(metrics)]
    if not shown:
        return "<none>"
    more = f" + {len(shown) - 2} more..." if len(shown) > 2 else ""
    return ", ".join(shown[:2]) + more


def _target(metric: dict[str, Any], current: dict[str, Any]) -> str:
    source = metric["type"][:1].lower() + metric["type"][1:]
    part, now = metric.get(source) or {}, (current.get(source) or {}).get("current") or {}
    wanted = part.get("target") or {}
    label = f"{part['name']}: " if source in ("resource", "containerResource") else ""
    if wanted.get("averageUtilization") is not None:
        used = now.get("averageUtilization")
        shown = UNKNOWN if used is None else f"{used}%"
        return f"{label}{shown}/{wanted['averageUtilization']}%"
    if wanted.get("averageValue") is not None:
        suffix = " (avg)" if source in ("external", "object") else ""
        return f"{label}{now.get('averageValue', UNKNOWN)}/{wanted['averageValue']}{suffix}"
    return f"{label}{now.get('value', UNKNOWN)}/{wanted.get('value', '')}"


def _priority_class(obj: meta.Object, now_s: float) -> Cells:
    return [
        obj["metadata"]["name"],
        obj.get("value", 0),
        bool(obj.get("globalDefault")),
        age(obj, now_s),
        obj.get("preemptionPolicy", ""),
    ]


def _runtime_class(obj: meta.Object, now_s: float) -> Cells:
    return [obj["metadata"]["name"], obj.get("handler", ""), age(obj, now_s)]


def _quota(obj: meta.Object, now_s: float) -> Cells:
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    limits = sorted(name for name in hard if name.startswith("limits."))
    requests = sorted(hard.keys() - set(limits))

    def shown(names: list[str]) -> str:
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return [obj["metadata"]["name"], shown(requests), shown(limits), age(obj, now_s)]


def _aged(obj: meta.Object, now_s: float) -> Cells:
    return [obj["metadata"]["name"], age(obj, now_s)]


def _claim(obj: meta.Object, now_s: float) -> Cells:
    status = obj.get("status") or {}
    states = ["deleted"] * bool(obj["metadata"].get("deletionTimestamp"))
    if status.get("allocation") is None:
        states += [] if states else ["pending"]
    else:
        states += ["allocated"]
        states += ["reserved"] * bool(status.get("reservedFor"))
    return [obj["metadata"]["name"], ",".join(states), age(obj, now_s)]


def _slice(obj: meta.Object, now_s: float) -> Cells:
    spec = obj.get("spec") or {}
    pool = (spec.get("pool") or {}).get("name", "")
    node = spec.get("nodeName") or ("<all>" if spec.get("allNodes") else "<some>")
    return [obj["metadata"]["name"], node, spec.get("driver", ""), pool, age(obj, now_s)]


PRINTERS = {
    "poddisruptionbudgets.policy": Printer(
        (NAME, Column("Min Available"), Column("Max Unavailable"),
         Column("Allowed Disruptions", "integer"), AGE), _budget),
    "horizontalpodautoscalers.autoscaling": Printer(
        (NAME, Column("Reference"), Column("Targets"), Column("MinPods"), Column("MaxPods"),
         Column("Replicas"), AGE), _autoscaler),
    "priorityclasses.scheduling.k8s.io": Printer(
        (NAME, Column("Value", "integer"), Column("Global-Default", "boolean"), AGE,
         Column("PreemptionPolicy")), _priority_class),
    "runtimeclasses.node.k8s.io": Printer((NAME, Column("Handler"), AGE), _runtime_class),
    "resourcequotas": Printer((NAME, Column("Request"), Column("Limit"), AGE), _quota),
    "deviceclasses.resource.k8s.io": Printer((NAME, AGE), _aged),
    "resourceclaims.resource.k8s.io": Printer((NAME, Column("State"), AGE), _claim),
    "resourceclaimtemplates.resource.k8s.io": Printer((NAME, AGE), _aged),
    "resourceslices.resource.k8s.io": Printer(
        (NAME, Column("Node"), Column("Driver"), Column("Pool"), AGE), _slice),
}  # fmt: skip
