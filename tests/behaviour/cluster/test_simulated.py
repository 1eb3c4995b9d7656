"""Simulated nodes of a whole cluster, by the commands that people use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

TOLERATION = (
    '{"spec":{"tolerations":[{"key":"raykube.dev/simulated","operator":"Exists"}],'
    '"nodeSelector":{"raykube.dev/fleet":"fleet-0"}}}'
)


@pytest.fixture
def simulated(cluster: Any) -> Iterator[list[str]]:
    """Names of simulated nodes, which pods of other tests keep away from."""
    cluster.raykube(
        "nodes", "simulate", "6", "--zones", "a,b", "--cpu", "2", "--taint",
        "--behaviour", "{logs: {lines: [hello]}}",
    )  # fmt: skip
    nodes = cluster.get("nodes", "-l", "raykube.dev/fleet")["items"]
    yield [node["metadata"]["name"] for node in nodes]
    cluster.raykube("nodes", "remove", "--all")


def test_nodes_are_simulated_run_pods_and_are_removed(
    cluster: Any, simulated: list[str], namespace: str, harness: Any
) -> None:
    assert len(simulated) == 6
    said = cluster.out("get", "nodes", "-L", "topology.kubernetes.io/zone", *simulated)
    assert said.count(" Ready ") == 6
    assert said.count(" b\n") == 3
    options = ("-n", namespace, "--image=app", "--restart=Never", f"--overrides={TOLERATION}")
    cluster.kubectl("run", "p", *options)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/p", "--timeout=60s")
    assert cluster.out("logs", "-n", namespace, "p") == "hello\n"
    cluster.raykube("kill", "fleet-0")
    cluster.kubectl("delete", "pod", "-n", namespace, "p", "--timeout=60s")
    cluster.raykube("nodes", "remove", simulated[0])
    left = cluster.get("nodes", "-l", "raykube.dev/fleet")["items"]
    assert len(left) == 5


def test_what_makes_no_sense_is_refused_and_changes_nothing(cluster: Any) -> None:
    for options, said in (
        (("simulate", "1", "--behaviour", "{redy: 1s}"), "unknown key 'redy'"),
        (("simulate", "1", "--cpu", "many"), "--cpu"),
        (("simulate", "1", "--label", "x"), "is no KEY=VALUE"),
        (("remove", "node-0"), "no simulated node named node-0"),
    ):
        done = cluster.raykube("nodes", *options, check=False)
        assert done.returncode != 0
        assert said in done.stderr
    assert not cluster.get("nodes", "-l", "raykube.dev/fleet")["items"]
