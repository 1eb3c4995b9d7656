"""A KubeletConfiguration (kubelet.config.k8s.io/v1beta1) as the config of our kubelet. Pure.

`shipLogs` is ours: `{url, format, headers, ca, period_s}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cluster.kubelet.eviction import thresholds
from cluster.kubelet.shipping.shipper import Target
from cluster.machinery import quantity
from cluster.machinery.cel.clock import parse_duration
from cluster.machinery.cel.errors import EvaluationError

Object = dict[str, Any]

KIND = ("kubelet.config.k8s.io/v1beta1", "KubeletConfiguration")


def _seconds(given: Any) -> float:
    """A number, or Go's form of a duration."""
    if isinstance(given, int | float):
        return float(given)
    try:
        return parse_duration(str(given)).ns / 1e9
    except EvaluationError:
        raise ValueError(f"{given!r} is no duration (90s, 1m30s)") from None


def _graces(values: Mapping[str, Any]) -> dict[str, float]:
    return {signal: _seconds(text) for signal, text in values.items()}


def _amounts(values: Mapping[str, Any]) -> dict[str, str]:
    for text in values.values():
        quantity.parse(text)
    return {name: str(text) for name, text in values.items()}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(text) for name, text in values.items()}


_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "evictionHard": ("eviction_hard", _texts),
    "evictionSoft": ("eviction_soft", _texts),
    "evictionSoftGracePeriod": ("eviction_soft_grace_s", _graces),
    "evictionMinimumReclaim": ("eviction_minimum_reclaim", _texts),
    "evictionPressureTransitionPeriod": ("eviction_transition_s", _seconds),
    "evictionMaxPodGracePeriod": ("eviction_grace_max_s", _seconds),
    "kubeReserved": ("kube_reserved", _amounts),
    "systemReserved": ("system_reserved", _amounts),
    "podPidsLimit": ("pod_pids_max", int),
    "cgroupsPerQOS": ("cgroups", bool),
    "staticPodPath": ("static_pod_path", str),
    "fileCheckFrequency": ("static_pod_period_s", _seconds),
    "shutdownGracePeriod": ("shutdown_grace_s", _seconds),
    "shutdownGracePeriodCriticalPods": ("shutdown_grace_critical_s", _seconds),
    "nodeStatusUpdateFrequency": ("status_s", _seconds),
    "nodeLeaseDurationSeconds": ("lease_s", _seconds),
    "shipLogs": ("ship_logs", dict),
}


def parse(given: Object) -> Object:
    """Settings for `Kubelet`'s config. Raises ValueError for what is not there, or is wrong."""
    if (given.get("apiVersion"), given.get("kind")) != KIND:
        raise ValueError(f"it is no {KIND[1]} of {KIND[0]}")
    found: Object = {}
    for name, value in given.items():
        if name in ("apiVersion", "kind"):
            continue
        if name == "maxPods":
            found["capacity"] = {"pods": str(int(value))}
            continue
        if name not in _FIELDS:
            known = ", ".join(sorted(_FIELDS))
            raise ValueError(f"{name} is not supported here; there are {known}")
        key, convert = _FIELDS[name]
        try:
            found[key] = convert(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{name}: {error}") from None
    thresholds.parse(found)
    if "ship_logs" in found:
        Target.of_config(found["ship_logs"])
    return found
