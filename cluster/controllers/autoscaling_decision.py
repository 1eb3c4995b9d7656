"""How many replicas the metrics ask for, and how fast to go there. Pure.

As upstream's replica calculator and scaling rules of autoscaling/v2. Amounts are in thousandths.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.controllers import pods
from cluster.controllers.autoscaling_metrics import Sample
from cluster.machinery import meta

Object = dict[str, Any]

TOLERANCE = 0.1
CPU_INITIALIZATION_S = 300.0
INITIAL_READINESS_S = 30.0
STABILIZATION_S = {"scaleUp": 0.0, "scaleDown": 300.0}
UP_POLICIES = (
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
)
DOWN_POLICIES = ({"type": "Percent", "value": 100, "periodSeconds": 15},)


@dataclass
class Groups:
    """Pods by what their metrics are worth; pods that go or failed are in none."""

    ready: set[str] = field(default_factory=set)
    unready: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)


def group(
    every: Iterable[Object], samples: Mapping[str, Sample], resource: str, now_s: float
) -> Groups:
    """As upstream's groupPods."""
    found = Groups()
    for pod in every:
        name = pod["metadata"]["name"]
        if pods.is_deleting(pod) or pods.phase(pod) == "Failed":
            continue
        if pods.phase(pod) == "Pending":
            found.unready.add(name)
        elif name not in samples:
            found.missing.add(name)
        elif resource == "cpu" and _is_starting(pod, samples[name], now_s):
            found.unready.add(name)
        else:
            found.ready.add(name)
    return found


def _is_starting(pod: Object, sample: Sample, now_s: float) -> bool:
    """CPU that a pod burns before it is ready says nothing about its load."""
    condition, start = meta.condition(pod, "Ready"), (pod.get("status") or {}).get("startTime")
    if condition is None or not start:
        return True
    start_s = meta.parse_time(start)
    changed_s = meta.parse_time(condition.get("lastTransitionTime") or start)
    unready = condition["status"] == "False"
    if start_s + CPU_INITIALIZATION_S > now_s:
        return bool(unready or sample.at_s < changed_s + sample.window_s)
    return bool(unready and start_s + INITIAL_READINESS_S > changed_s)


def by_target(
    current: int,
    groups: Groups,
    samples: Mapping[str, Sample],
    weights: Mapping[str, int],
    target: int,
    missing_percent: int,
) -> tuple[int, float]:
    """(replicas, usage): usage is the sum of samples over the sum of weights, in percent.

    For a utilisation the weights are the pods' requests; for an average value they are 100 each,
    so that usage is the mean. Pods without samples are taken to be against the change: idle
    when it is up, at `missing_percent` of their weight when it is down.
    """
    used = {name: samples[name].milli for name in groups.ready}
    if not used:
        raise ValueError("did not receive metrics for any ready pods")
    usage = _usage(used, weights)
    ratio = usage / target
    up_with_unready = bool(groups.unready) and ratio > 1
    if not up_with_unready and not groups.missing:
        return (current if _is_near(ratio) else math.ceil(ratio * len(used))), usage
    if ratio < 1:
        used |= {name: weights[name] * missing_percent // 100 for name in groups.missing}
    else:
        used |= dict.fromkeys(groups.missing, 0)
    if up_with_unready:
        used |= dict.fromkeys(groups.unready, 0)
    new_ratio = _usage(used, weights) / target
    turned = (ratio < 1 < new_ratio) or (new_ratio < 1 < ratio)
    if _is_near(new_ratio) or turned:
        return current, usage
    wanted = math.ceil(new_ratio * len(used))
    against = (new_ratio < 1 and wanted > current) or (new_ratio > 1 and wanted < current)
    return (current if against else wanted), usage


def _usage(used: Mapping[str, int], weights: Mapping[str, int]) -> float:
    total = sum(weights[name] for name in used)
    return sum(used.values()) * 100 / total if total else 0.0


def _is_near(ratio: float) -> bool:
    return abs(1 - ratio) <= TOLERANCE


def by_value(current: int, ready: int, value: int, target: int) -> int:
    """Of one number for all pods: in proportion to the ready ones."""
    ratio = value / target
    return current if _is_near(ratio) else math.ceil(ratio * ready)


def by_average_value(current: int, value: int, target: int) -> int:
    """Of one number that the pods share."""
    ratio = value / (target * current) if current else math.inf
    return current if _is_near(ratio) else math.ceil(value / target)


@dataclass
class Memory:
    """Of one autoscaler: (time, replicas) recommended, and (time, change) carried out."""

    recommended: list[tuple[float, int]] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def forget_before(self, at_s: float) -> None:
        self.recommended = [each for each in self.recommended if each[0] >= at_s]
        self.changes = [each for each in self.changes if each[0] >= at_s]


@dataclass(frozen=True)
class Limited:
    """Replicas after all limits, and the reason (of condition ScalingLimited) if one held."""

    replicas: int
    reason: str = ""
    stabilized: bool = False


def limit(spec: Object, current: int, wanted: int, memory: Memory, now_s: float) -> Limited:
    """Stabilise over the windows, then keep to the policies and to minReplicas, maxReplicas."""
    behaviour = spec.get("behavior") or {}
    stable = _stabilize(behaviour, current, wanted, memory, now_s)
    low, high = int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])
    result, reason = stable, ""
    if stable > current:
        most = _bound(behaviour.get("scaleUp") or {}, UP_POLICIES, 1, current, memory, now_s)
        most = max(most, current)
        if stable > min(most, high):
            result = min(most, high)
            reason = "TooManyReplicas" if high <= most else "ScaleUpLimit"
    elif stable < current:
        least = _bound(behaviour.get("scaleDown") or {}, DOWN_POLICIES, -1, current, memory, now_s)
        least = min(least, current)
        if stable < max(least, low):
            result = max(least, low)
            reason = "TooFewReplicas" if low >= least else "ScaleDownLimit"
    elif stable > high or stable < low:
        result = min(max(stable, low), high)
    return Limited(result, reason, stable != wanted)


def _stabilize(behaviour: Object, current: int, wanted: int, memory: Memory, now_s: float) -> int:
    """Up no further than the least, down no further than the most of the window's advice."""
    windows = {
        name: float((behaviour.get(name) or {}).get("stabilizationWindowSeconds", default))
        for name, default in STABILIZATION_S.items()
    }
    memory.forget_before(now_s - 3600)
    least = most = wanted
    for at_s, replicas in memory.recommended:
        if at_s > now_s - windows["scaleUp"]:
            least = min(least, replicas)
        if at_s > now_s - windows["scaleDown"]:
            most = max(most, replicas)
    memory.recommended.append((now_s, wanted))
    return min(max(current, least), most)


def _bound(
    rules: Object,
    defaults: Sequence[Object],
    sign: int,
    current: int,
    memory: Memory,
    now_s: float,
) -> int:
    """How far the policies allow to go; the one that allows most, unless selectPolicy is Min."""
    select = rules.get("selectPolicy") or "Max"
    if select == "Disabled":
        return current
    bounds = []
    for policy in rules.get("policies") or defaults:
        since_s = now_s - float(policy["periodSeconds"])
        before = current - sum(change for at_s, change in memory.changes if at_s > since_s)
        value = int(policy["value"])
        if policy["type"] == "Pods":
            bounds.append(before + sign * value)
        elif sign > 0:
            bounds.append(math.ceil(before * (100 + value) / 100))
        else:
            bounds.append(before * (100 - value) // 100)
    furthest = max if (select == "Max") == (sign > 0) else min
    return furthest(bounds)
