"""Plugins from their arguments in KubeSchedulerConfiguration. Pure; raises ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.scheduler.plugins.default_preemption import DefaultPreemption
from cluster.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from cluster.scheduler.plugins.node_affinity import NodeAffinity
from cluster.scheduler.plugins.node_resources_balanced import NodeResourcesBalancedAllocation
from cluster.scheduler.plugins.node_resources_fit import NodeResourcesFit
from cluster.scheduler.plugins.node_resources_scores import (
    CPU_AND_MEMORY,
    LeastAllocated,
    MostAllocated,
    RequestedToCapacityRatio,
)
from cluster.scheduler.plugins.pod_topology_spread import PodTopologySpread
from cluster.scheduler.plugins.volume_binding import VolumeBinding

Arguments = Mapping[str, Any]


def node_affinity(given: Arguments) -> NodeAffinity:
    return NodeAffinity(given.get("addedAffinity"))


def node_resources_fit(given: Arguments) -> NodeResourcesFit:
    return NodeResourcesFit(
        _strategy(given.get("scoringStrategy") or {}),
        given.get("ignoredResources") or (),
        given.get("ignoredResourceGroups") or (),
    )


def _strategy(given: Arguments) -> LeastAllocated:
    weights = {r["name"]: int(r.get("weight") or 1) for r in given.get("resources") or ()}
    weights = weights or CPU_AND_MEMORY
    if wrong := [name for name, weight in weights.items() if not 1 <= weight <= 100]:
        raise ValueError(f"resource weight of {wrong[0]} should be in the range of (0, 100]")
    kind = given.get("type") or "LeastAllocated"
    if kind == "RequestedToCapacityRatio":
        return RequestedToCapacityRatio(weights, _shape(given.get(_camel(kind)) or {}))
    simple = {"LeastAllocated": LeastAllocated, "MostAllocated": MostAllocated}
    if kind not in simple:
        raise ValueError(f'scoringStrategy: "{kind}" is not a type of strategy')
    return simple[kind](weights)


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]


def _shape(given: Arguments) -> tuple[tuple[int, int], ...]:
    """Utilizations must rise within 0..100; scores are given in 0..10."""
    points = [(int(p["utilization"]), int(p["score"])) for p in given.get("shape") or ()]
    if not points:
        raise ValueError("requestedToCapacityRatio: at least one point must be specified")
    utilizations = [x for x, _ in points]
    if (
        utilizations != sorted({*utilizations})
        or not 0 <= utilizations[0] <= utilizations[-1] <= 100
    ):
        raise ValueError("requestedToCapacityRatio: utilization values must rise within [0, 100]")
    if any(not 0 <= y <= 10 for _, y in points):
        raise ValueError("requestedToCapacityRatio: scores must be in the range [0, 10]")
    return tuple((x, 10 * y) for x, y in points)


def node_resources_balanced(given: Arguments) -> NodeResourcesBalancedAllocation:
    names = [r["name"] for r in given.get("resources") or ()]
    return NodeResourcesBalancedAllocation(names or ("cpu", "memory"))


def pod_topology_spread(given: Arguments) -> PodTopologySpread:
    """`defaultingType` List takes the constraints that are given (perhaps none)."""
    constraints = given.get("defaultConstraints") or []
    if given.get("defaultingType", "System") != "List":
        if constraints:
            raise ValueError("when .defaultingType is System, .defaultConstraints must be empty")
        return PodTopologySpread()
    for constraint in constraints:
        if constraint.get("labelSelector"):
            raise ValueError("constraint must not define a selector, as they are deduced")
    return PodTopologySpread(constraints)


def default_preemption(given: Arguments) -> DefaultPreemption:
    percent = int(given.get("minCandidateNodesPercentage", 10))
    absolute = int(given.get("minCandidateNodesAbsolute", 100))
    if not 0 <= percent <= 100 or absolute < 0 or not percent + absolute:
        raise ValueError("minCandidateNodesPercentage: not in valid range [0, 100]")
    return DefaultPreemption(percent, absolute)


def volume_binding(given: Arguments) -> VolumeBinding:
    timeout_s = float(given.get("bindTimeoutSeconds", 600))
    if timeout_s < 0:
        raise ValueError("bindTimeoutSeconds: invalid BindTimeoutSeconds, should not be negative")
    return VolumeBinding(timeout_s)


def inter_pod_affinity(given: Arguments) -> InterPodAffinity:
    weight = int(given.get("hardPodAffinityWeight", 1))
    if not 0 <= weight <= 100:
        raise ValueError("hardPodAffinityWeight: not in valid range [0-100]")
    return InterPodAffinity(weight, bool(given.get("ignorePreferredTermsOfExistingPods")))
