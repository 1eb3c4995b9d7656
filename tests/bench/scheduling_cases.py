"""The cases of upstream's scheduler_perf: nodes, pods that are there before, pods measured.

Nodes have 4 CPU, 32 Gi and 110 pods, in 10 zones. Thresholds are upstream's own, in pods per
second at 5,000 nodes; counts are those of 5,000 nodes and shrink with the nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
FULL = 5000


@dataclass(frozen=True)
class Kind:
    """Pods of one kind; `spec` goes over the plain one."""

    labels: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    cpu: str = "100m"
    priority: int = 0

    def pod(self, name: str, namespace: str = "bench") -> Object:
        requests = {"cpu": self.cpu, "memory": "500Mi"}
        container = {"name": "pause", "image": "pause:3", "resources": {"requests": requests}}
        spec = {"containers": [container], "priority": self.priority, **self.spec}
        metadata = {"name": name, "namespace": namespace, "labels": dict(self.labels)}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@dataclass(frozen=True)
class Case:
    """`churn`: one such pod comes with every `every` measured ones; `hopeless`: it never fits.
    `most`: how many measured pods a node has room for, as a mean."""

    name: str
    threshold: float
    before: tuple[tuple[Kind, int], ...]
    measured: tuple[Kind, int]
    churn: Kind | None = None
    every: int = 0
    hopeless: bool = False
    most: float = 10.0

    def count(self, nodes: int) -> int:
        """Of measured pods in a whole cluster: upstream's, if so many fit."""
        return min(self.measured[1], int(self.most * nodes))


def node(number: int) -> Object:
    name = f"node-{number:05d}"
    amounts = {"cpu": "4", "memory": "32Gi", "pods": "110"}
    labels = {HOST: name, ZONE: f"zone-{number % 10}"}
    ready = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": amounts, "capacity": amounts, "conditions": ready},
    }


def _term(color: str, key: str) -> Object:
    return {"labelSelector": {"matchLabels": {"color": color}}, "topologyKey": key}


def _near(kind: str, term: Object, preferred: bool = False) -> Mapping[str, Any]:
    if preferred:
        entry = {"weight": 1, "podAffinityTerm": term}
        terms = {"preferredDuringSchedulingIgnoredDuringExecution": [entry]}
    else:
        terms = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"affinity": {kind: terms}}


PLAIN = Kind()
SPREAD = Kind(
    {"color": "blue"},
    {
        "topologySpreadConstraints": [
            {"maxSkew": 5, "whenUnsatisfiable": "DoNotSchedule", **_term("blue", ZONE)}
        ]
    },
)
APART = Kind({"color": "green"}, _near("podAntiAffinity", _term("green", HOST)))
TOGETHER = Kind({"color": "red"}, _near("podAffinity", _term("red", ZONE)))
RATHER_TOGETHER = Kind({"color": "pink"}, _near("podAffinity", _term("pink", HOST), True))
RATHER_APART = Kind({"color": "grey"}, _near("podAntiAffinity", _term("grey", HOST), True))
_ZONES = {"key": ZONE, "operator": "In", "values": ["zone-0", "zone-1"]}
_TERMS = {"nodeSelectorTerms": [{"matchExpressions": [_ZONES]}]}
IN_ZONES = Kind(
    spec={"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _TERMS}}}
)
LOW = Kind(cpu="900m", priority=-10)
PREEMPTING = Kind(cpu="3", priority=100)
TOO_LARGE = Kind(cpu="9")
KINDS = (PLAIN, TOGETHER, APART, RATHER_TOGETHER, RATHER_APART)

CASES = (
    Case("basic", 680, ((PLAIN, 1000),), (PLAIN, 10_000)),
    Case("topology spread, required", 460, ((PLAIN, 5000),), (SPREAD, 5000)),
    Case("pod anti-affinity, required", 60, ((APART, 1000),), (APART, 2000), most=0.7),
    Case("pod affinity, required", 35, ((TOGETHER, 2000),), (TOGETHER, 2000)),
    Case("node affinity", 220, ((IN_ZONES, 5000),), (IN_ZONES, 10_000), most=5.0),
    Case("preemption", 570, ((LOW, 20_000),), (PLAIN, 5000), PREEMPTING, 114, most=2.5),
    Case(
        "unschedulable churn", 590, ((PLAIN, 100),), (PLAIN, 10_000), TOO_LARGE, 118, hopeless=True
    ),
    Case("mixed", 140, tuple((kind, 1000) for kind in KINDS), (PLAIN, 5000), most=5.0),
)
