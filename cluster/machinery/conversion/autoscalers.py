"""Horizontal pod autoscalers: v1 knows CPU alone, and keeps the rest of v2 in annotations."""

from __future__ import annotations

from typing import Any

import orjson

from cluster.machinery.meta import Object

V1, V2 = "autoscaling/v1", "autoscaling/v2"
_PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, BEHAVIOR = _PREFIX + "metrics", _PREFIX + "behavior"
CURRENT_METRICS, CONDITIONS = _PREFIX + "current-metrics", _PREFIX + "conditions"
_SPEC_NAMES = ("targetValue", "targetAverageValue", "targetAverageUtilization")
_STATUS_NAMES = ("currentValue", "currentAverageValue", "currentAverageUtilization")
_VALUE_NAMES = ("value", "averageValue", "averageUtilization")
_TYPES = ("Value", "AverageValue", "Utilization")


def to_v1(obj: Object) -> Object:
    """CPU utilization becomes a field of its own; everything else goes into annotations."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    notes: dict[str, Any] = {}
    cpu, others = _split_cpu(spec.pop("metrics", None) or [], "target")
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = cpu
    notes[METRICS] = [_flat(m, "target", _SPEC_NAMES) for m in others]
    notes[BEHAVIOR] = spec.pop("behavior", None)
    current, current_others = _split_cpu(status.pop("currentMetrics", None) or [], "current")
    if current is not None:
        status["currentCPUUtilizationPercentage"] = current
    notes[CURRENT_METRICS] = [_flat(m, "current", _STATUS_NAMES) for m in current_others]
    notes[CONDITIONS] = status.pop("conditions", None)
    annotations = dict(obj["metadata"].get("annotations") or {})
    annotations |= {k: orjson.dumps(v).decode() for k, v in notes.items() if v}
    return _built(obj, V1, annotations, spec, status)


def to_v2(obj: Object) -> Object:
    """The annotations become fields again."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations = dict(obj["metadata"].get("annotations") or {})
    metrics = [_nested(m, "target", _SPEC_NAMES) for m in _note(annotations, METRICS)]
    cpu = spec.pop("targetCPUUtilizationPercentage", None)
    if cpu is not None:
        metrics.append(_cpu_metric({"target": {"type": "Utilization", "averageUtilization": cpu}}))
    if metrics:
        spec["metrics"] = metrics
    behavior = _note(annotations, BEHAVIOR)
    if behavior:
        spec["behavior"] = behavior
    current = [_nested(m, "current", _STATUS_NAMES) for m in _note(annotations, CURRENT_METRICS)]
    used = status.pop("currentCPUUtilizationPercentage", None)
    if used is not None:
        current.append(_cpu_metric({"current": {"averageUtilization": used}}))
    if current:
        status["currentMetrics"] = current
    conditions = _note(annotations, CONDITIONS)
    if conditions:
        status["conditions"] = conditions
    return _built(obj, V2, annotations, spec, status)


def _built(obj: Object, version: str, annotations: Object, spec: Object, status: Object) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    built: Object = {**obj, "apiVersion": version, "metadata": metadata, "spec": spec}
    if status or "status" in obj:
        built["status"] = status
    return built


def _note(annotations: Object, name: str) -> Any:
    """Takes the annotation out; text that is no JSON is dropped, as upstream drops it."""
    text = annotations.pop(name, None)
    if text is None:
        return []
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return []


def _cpu_metric(part: Object) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", **part}}


def _split_cpu(metrics: list[Object], part: str) -> tuple[int | None, list[Object]]:
    """The utilization of the first CPU metric, and all other metrics."""
    cpu, others = None, []
    for metric in metrics:
        resource = metric.get("resource") or {}
        found = resource.get("name") == "cpu" and _only_utilization(resource.get(part) or {})
        if cpu is None and metric.get("type") == "Resource" and found:
            cpu = resource[part]["averageUtilization"]
        else:
            others.append(metric)
    return cpu, others


def _only_utilization(values: Object) -> bool:
    return values.keys() - {"type"} == {"averageUtilization"}


def _source(metric: Object) -> str:
    """The field that a metric of this type is described in: Resource, resource."""
    type_ = str(metric.get("type") or "")
    return type_[:1].lower() + type_[1:]


def _flat(metric: Object, part: str, names: tuple[str, ...]) -> Object:
    """v1's form of a metric: target or current values stand beside the metric's name."""
    name = _source(metric)
    inner = dict(metric.get(name) or {})
    values, identifier = inner.pop(part, None) or {}, inner.pop("metric", None) or {}
    inner |= {flat: values[v] for flat, v in zip(names, _VALUE_NAMES, strict=True) if v in values}
    if identifier:
        inner["metricName"] = identifier.get("name", "")
        if identifier.get("selector"):
            inner["metricSelector" if name == "external" else "selector"] = identifier["selector"]
    if "describedObject" in inner:
        inner["target"] = inner.pop("describedObject")
    return {"type": metric.get("type"), name: inner}


def _nested(metric: Object, part: str, names: tuple[str, ...]) -> Object:
    """v2's form of what `_flat` made."""
    name = _source(metric)
    inner = dict(metric.get(name) or {})
    values: Object = {}
    for flat, value, type_ in zip(names, _VALUE_NAMES, _TYPES, strict=True):
        if flat in inner:
            values[value] = inner.pop(flat)
            if part == "target":
                values["type"] = type_
    if name == "object" and "target" in inner:
        inner["describedObject"] = inner.pop("target")
    selector = inner.pop("metricSelector", None) or inner.pop("selector", None)
    if "metricName" in inner:
        inner["metric"] = {"name": inner.pop("metricName")}
        if selector:
            inner["metric"]["selector"] = selector
    inner[part] = values
    return {"type": metric.get("type"), name: inner}
