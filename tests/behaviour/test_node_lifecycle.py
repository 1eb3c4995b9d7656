"""The life of pods on a node, against a real API server and seen through the real kubectl."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from node_cluster import Cluster, eventually, needs_kubectl, needs_root, pod

from cluster.kubelet.cgroups import detection

pytestmark = needs_kubectl

STATIC = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: any, command: [sh, -c, "echo static; exec sleep 1000"]}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture
def groups(cluster: Cluster) -> Any:
    tree = detection.recorded(cluster.data_dir)
    if tree is None:
        pytest.skip("this machine has no control groups for us")
    return tree


def status_of(cluster: Cluster, name: str, *more: str) -> Any:
    return cluster.get("pod", name, *more)["status"]


def container_of(cluster: Cluster, name: str) -> Any:
    return (status_of(cluster, name).get("containerStatuses") or [{}])[0]


def test_a_static_pod_is_shown_by_a_mirror_that_comes_again(cluster: Cluster) -> None:
    manifests = Path(cluster.data_dir) / "manifests"
    manifests.mkdir()
    (manifests / "web.yaml").write_text(STATIC)
    there = ("get", "pods", "-n", "default", "-o", "name")
    eventually(lambda: "web-node-1" in cluster.kubectl(*there), 60)
    wait = ("wait", "--for=condition=Ready", "pod/web-node-1", "-n", "default")
    cluster.kubectl(*wait, "--timeout=60s")
    first = cluster.get("pod", "web-node-1", "-n", "default")
    assert cluster.kubectl("logs", "web-node-1", "-n", "default") == "static\n"
    cluster.kubectl("delete", "pod", "web-node-1", "-n", "default", "--timeout=60s")

    def is_back() -> bool:
        found = json.loads(cluster.kubectl("get", "pods", "-n", "default", "-o", "json"))
        return any(each["metadata"]["uid"] != first["metadata"]["uid"] for each in found["items"])

    eventually(is_back, 60)
    cluster.kubectl(*wait, "--timeout=60s")
    again = cluster.get("pod", "web-node-1", "-n", "default")
    ids = [each["status"]["containerStatuses"][0]["containerID"] for each in (first, again)]
    assert ids[0] == ids[1]
    (manifests / "web.yaml").unlink()
    eventually(lambda: "web-node-1" not in cluster.kubectl(*there), 60)


def test_a_pod_is_resized_through_its_subresource(cluster: Cluster, groups: Any) -> None:
    amounts = {"cpu": "200m", "memory": "64Mi"}
    container = {"resources": {"requests": amounts, "limits": amounts}}
    cluster.apply(pod("sized", "sleep", "1000", container=container))
    cluster.wait("sized", "condition=Ready", "60s")
    more = {"cpu": "400m", "memory": "64Mi"}
    change = [{"name": "main", "resources": {"requests": more, "limits": more}}]
    patch = json.dumps({"spec": {"containers": change}})
    cluster.kubectl("patch", "pod", "sized", "--subresource", "resize", "--patch", patch)

    def cpu() -> str:
        limits = (container_of(cluster, "sized").get("resources") or {}).get("limits") or {}
        return str(limits.get("cpu"))

    eventually(lambda: cpu() == "400m", 60)
    assert container_of(cluster, "sized")["restartCount"] == 0
    types = {each["type"] for each in status_of(cluster, "sized")["conditions"]}
    assert "PodResizePending" not in types
    huge = {"cpu": "4000", "memory": "64Mi"}
    change[0]["resources"] = {"requests": huge, "limits": huge}
    patch = json.dumps({"spec": {"containers": change}})
    cluster.kubectl("patch", "pod", "sized", "--subresource", "resize", "--patch", patch)

    def reasons() -> set[str]:
        return {each.get("reason", "") for each in status_of(cluster, "sized")["conditions"]}

    eventually(lambda: "Infeasible" in reasons(), 60)
    assert cpu() == "400m"
    change[0]["resources"] = {"requests": more, "limits": more}
    patch = json.dumps({"spec": {"containers": change}})
    cluster.kubectl("patch", "pod", "sized", "--subresource", "resize", "--patch", patch)
    eventually(lambda: "Infeasible" not in reasons(), 60)
    cluster.kubectl("delete", "pod", "sized", "--grace-period=1", "--timeout=60s")


def test_a_container_that_takes_too_much_memory_is_shown_as_oom_killed(
    cluster: Cluster, groups: Any
) -> None:
    container = {"resources": {"limits": {"memory": "32Mi"}}}
    hungry = pod("hungry", "python3", "-c", "bytearray(300 << 20)", container=container)
    hungry["spec"]["restartPolicy"] = "Never"
    cluster.apply(hungry)
    cluster.wait("hungry", "jsonpath={.status.phase}=Failed", "60s")
    assert "OOMKilled" in cluster.kubectl("get", "pod", "hungry")
    cluster.kubectl("delete", "pod", "hungry", "--timeout=60s")


@needs_root
def test_security_settings_hold_in_the_container(cluster: Cluster) -> None:
    script = (
        "id -u; id -G; unshare -m true 2>&1 | grep -o 'not permitted'; touch /x 2>&1 | tail -c 22"
    )
    context = {"capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    shared = {"runAsUser": 1234, "runAsGroup": 77, "fsGroup": 88, "supplementalGroups": [99]}
    shared |= {"seccompProfile": {"type": "RuntimeDefault"}}
    obj = pod("safe", "sh", "-c", script, container={"securityContext": context})
    obj["spec"] |= {"securityContext": shared, "restartPolicy": "Never"}
    cluster.apply(obj)
    eventually(lambda: status_of(cluster, "safe")["phase"] in ("Succeeded", "Failed"), 60)
    lines = cluster.kubectl("logs", "safe").splitlines()
    assert lines[0] == "1234"
    assert set(lines[1].split()) == {"77", "88", "99"}
    assert lines[2:] == ["not permitted", "Read-only file system"]
    cluster.kubectl("delete", "pod", "safe", "--timeout=60s")


@needs_root
def test_containers_of_a_pod_share_their_processes_if_it_says_so(cluster: Cluster) -> None:
    there = "grep -aqs '4321[0]' /proc/[0-9]*/cmdline"
    look = f"until {there}; do sleep 0.05; done; echo seen; exec sleep 1000"
    obj = pod("shared", "sh", "-c", look)
    other = {"name": "other", "image": "any", "command": ["sleep", "43210"]}
    obj["spec"]["containers"].append(other)
    obj["spec"] |= {"shareProcessNamespace": True, "terminationGracePeriodSeconds": 1}
    cluster.apply(obj)
    cluster.wait("shared", "condition=Ready", "60s")
    eventually(lambda: "seen" in cluster.kubectl("logs", "shared", "-c", "main"), 60)
    uid = cluster.get("pod", "shared")["metadata"]["uid"]
    cluster.kubectl("delete", "pod", "shared", "--timeout=60s")
    assert not os.path.exists(os.path.join(cluster.data_dir, "pods", uid))
