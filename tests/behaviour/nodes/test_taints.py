"""Taints that end pods, and pods that go on nevertheless."""

from __future__ import annotations

from typing import Any

import pytest
from suite.rows import shows
from suite.runtimes import Node

Object = dict[str, Any]

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


def _pod(node: Node, name: str, seconds: int | None = None) -> Object:
    own = {"key": "suite/taint", "operator": "Exists", "effect": "NoExecute"}
    if seconds is not None:
        own["tolerationSeconds"] = seconds
    container = {"name": "main", "command": ["sh", "-c", FOREVER]}
    return node.pod(name, container, tolerations=[own], terminationGracePeriodSeconds=1)


def objects_of(node: Node) -> list[Object]:
    return [
        _pod(node, "tolerates-1", 1),
        _pod(node, "tolerates-600", 600),
        _pod(node, "tolerates"),
    ]


@pytest.fixture
def tainted(pods: Node) -> Any:
    for name in ("tolerates-1", "tolerates-600", "tolerates"):
        pods.until(name, lambda pod: pod["status"].get("phase") == "Running")
    pods.kubectl("taint", "node", pods.name, "suite/taint=x:NoExecute")
    yield pods
    if "suite/taint" in pods.kubectl("get", "node", pods.name, "-o", "jsonpath={.spec.taints}"):
        pods.kubectl("taint", "node", pods.name, "suite/taint:NoExecute-")


@shows(
    "[sig-node] NoExecuteTaintManager Multiple Pods evicts pods with minTolerationSeconds",
    "[sig-node] NoExecuteTaintManager Single Pod removing taint cancels eviction",
)
def test_a_taint_ends_pods_in_their_time_unless_it_is_taken_away(tainted: Node) -> None:
    tainted.kubectl("wait", "--for=delete", "pod/tolerates-1", "--timeout=120s")
    tainted.kubectl("taint", "node", tainted.name, "suite/taint:NoExecute-")
    tainted.apply(_pod(tainted, "afterwards", 1))
    tainted.until("afterwards", lambda pod: pod["status"].get("phase") == "Running")
    for name in ("tolerates-600", "tolerates", "afterwards"):
        assert "deletionTimestamp" not in tainted.read(name)["metadata"]
