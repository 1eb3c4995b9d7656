"""Resources of running containers are changed in place: no container restarts for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from suite.rows import real
from suite.runtimes import Node

Object = dict[str, Any]

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
RESIZE = "[sig-node] Pod InPlace Resize Container"
THREE = f"{RESIZE} guaranteed pods with multiple containers 3 containers -"


def amounts(cpu: str, memory: str) -> Object:
    return {"cpu": cpu, "memory": memory}


def equal(cpu: str, memory: str) -> Object:
    return {"requests": amounts(cpu, memory), "limits": amounts(cpu, memory)}


def least(cpu: str, memory: str) -> Object:
    return {"requests": amounts(cpu, memory)}


CASES: dict[str, tuple[str, list[Object], list[Object]]] = {
    "net-increase": (
        f"{THREE} increase cpu & mem on c1, c2, decrease cpu & mem on c3 - net increase",
        [equal("10m", "64Mi"), equal("20m", "64Mi"), equal("30m", "64Mi")],
        [equal("30m", "96Mi"), equal("40m", "96Mi"), equal("20m", "48Mi")],
    ),
    "net-decrease": (
        f"{THREE} increase cpu & mem on c1, decrease cpu & mem on c2, c3 - net decrease",
        [equal("20m", "64Mi"), equal("40m", "96Mi"), equal("40m", "96Mi")],
        [equal("30m", "80Mi"), equal("20m", "64Mi"), equal("20m", "64Mi")],
    ),
    "mixed": (
        f"{THREE} increase: CPU (c1,c3), memory (c2, c3) ; decrease: CPU (c2)",
        [equal("10m", "64Mi"), equal("40m", "64Mi"), equal("20m", "64Mi")],
        [equal("30m", "64Mi"), equal("20m", "80Mi"), equal("30m", "80Mi")],
    ),
    "six": (
        f"{RESIZE} burstable pods - extended 6 containers - various operations performed (including"
        " adding limits and requests)",
        [least("10m", "32Mi")] * 6,
        [least("20m", "32Mi"), least("10m", "48Mi"), least("20m", "48Mi"),
         {**least("10m", "32Mi"), "limits": amounts("40m", "64Mi")}, least("15m", "40Mi"),
         least("10m", "32Mi")],
    ),
    "equivalents": (
        f"{RESIZE} burstable pods - extended resize with equivalents",
        [{**least("2m", "32Mi"), "limits": amounts("10m", "64Mi")}],
        [{**least("1m", "32Mi"), "limits": amounts("5m", "64Mi")}],
    ),
}  # fmt: skip


def _containers(resources: list[Object]) -> list[Object]:
    return [
        {"name": f"c{n}", "command": ["sh", "-c", FOREVER], "resources": of}
        for n, of in enumerate(resources, 1)
    ]


def objects_of(node: Node) -> list[Object]:
    if node.runtime == "simulated":
        return []
    pods = [node.pod(f"resize-{n}", *_containers(before)) for n, (_, before, _) in CASES.items()]
    return [*pods, node.pod("resize-replaced", *_containers([equal("10m", "64Mi")]))]


def _has(resources: list[Object]) -> Any:
    def check(pod: Object) -> bool:
        found = {c["name"]: c for c in pod["status"].get("containerStatuses") or ()}
        told = [found.get(f"c{n}", {}).get("resources") for n in range(1, len(resources) + 1)]
        return told == resources

    return check


def _running(pods: Node, name: str) -> Object:
    return pods.until(name, lambda pod: pod["status"].get("phase") == "Running")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=real(case[0])) for name, case in CASES.items()]
)
def test_containers_get_other_resources_without_a_restart(pods: Node, name: str) -> None:
    _, _, after = CASES[name]
    _running(pods, f"resize-{name}")
    named = [{"name": f"c{n}", "resources": of} for n, of in enumerate(after, 1)]
    patch = json.dumps({"spec": {"containers": named}})
    pods.kubectl("patch", "pod", f"resize-{name}", "--subresource=resize", "-p", patch)
    pod = pods.until(f"resize-{name}", _has(after))
    assert {c["restartCount"] for c in pod["status"]["containerStatuses"]} == {0}


@real(f"{RESIZE} resize pod via the replace endpoint")
def test_resources_are_replaced_through_their_own_path(pods: Node) -> None:
    _running(pods, "resize-replaced")
    path = f"/api/v1/namespaces/{pods.namespace}/pods/resize-replaced/resize"
    _, pod = pods.plane.json("GET", path)
    pod["spec"]["containers"][0]["resources"] = equal("20m", "80Mi")
    status, _ = pods.plane.json("PUT", path, pod)
    assert status == 200
    pod = pods.until("resize-replaced", _has([equal("20m", "80Mi")]))
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
