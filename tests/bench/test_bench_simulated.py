"""The benchmarks on simulated nodes run and tell their figures; how high they are is not judged."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest

FOLDER = pathlib.Path(__file__).parent


def figures(script: str, *options: str) -> dict[str, dict[str, Any]]:
    command = [sys.executable, str(FOLDER / script), "--members", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return {line["figure"]: line for line in lines if "figure" in line}


@pytest.mark.cluster
def test_nodes_and_their_pods_are_measured_with_what_each_part_spent() -> None:
    found = figures("bench_nodes.py", "simulated", "--nodes", "5,20", "--pods", "40", "--idle", "1")
    assert {"20 nodes Ready", "pods Running, bound when made", "pods deleted"} <= found.keys()
    running = found["pods Running, bound when made"]
    assert running["raykube"] > 0
    assert running["requests"]["create pods"] == 40
    assert running["memory_mb"]["fleet"] > 0


@pytest.mark.cluster
def test_the_starts_of_real_pods_and_their_kubelet_are_measured() -> None:
    found = figures("bench_nodes.py", "real", "--real-pods", "0,3", "--idle", "0.2")
    assert found["process: created to Running, 50 at once"]["pods"] == 50
    assert found["process: kubelet with 3 pods"]["memory_mb"] > 20


@pytest.mark.cluster
def test_controllers_are_measured_on_simulated_nodes() -> None:
    found = figures("bench_controllers.py", "--nodes", "5", "--scale", "0.01")
    assert found["a Deployment rolls out"]["objects"] == 10
    assert found["10 Jobs complete"]["requests_per_object"] > 1
    assert found["a namespace is deleted"]["objects"] == 50


@pytest.mark.cluster
def test_scheduling_is_measured_end_to_end_on_simulated_nodes() -> None:
    options = ("--only", "cluster", "--nodes", "10", "basic", "preemption", "unschedulable churn")
    found = figures("bench_scheduler.py", *options)
    assert found["cluster: basic"]["pods"] == 100
    assert found["cluster: preemption"]["raykube"] > 0
    assert found["cluster: unschedulable churn"]["requests_per_pod"]["create pods"] >= 2


@pytest.mark.cluster
@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2 (namespaces)"
)
def test_a_cluster_stands_on_two_hosts_and_leaves_none_behind() -> None:
    found = figures("stress.py", "--nodes", "4", "--pods", "4", "--idle", "0")
    assert found["pods deleted"]["requests"]["delete pods"] == 4
    assert found["4 nodes Ready"]["memory_mb"]["fleet"] > 150  # two processes
    listed = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
    assert "rk" not in listed.stdout
