"""A node whose containers run in a real containerd, seen through the real kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from containerd import IMAGE, Containerd, needs_containerd
from node_cluster import Cluster, eventually, needs_kubectl
from node_cluster import pod as any_pod

pytestmark = [needs_kubectl, needs_containerd]


def pod(name: str, *command: str, container: Any = None, **spec: Any) -> dict[str, Any]:
    main = {"image": IMAGE} | (container or {})
    return any_pod(name, *command, container=main, **spec)


@pytest.fixture(scope="module")
def cluster(containerd: Containerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    node = {"runtime": "cri", "runtime_endpoint": containerd.endpoint}
    made = Cluster(tmp_path_factory.mktemp("cluster"), node=node)
    yield made
    made.close()


def test_the_node_tells_what_runs_its_containers(cluster: Cluster) -> None:
    eventually(lambda: bool(cluster.get("nodes")["items"]))
    cluster.kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=60s")
    info = cluster.get("node", "node-1")["status"]["nodeInfo"]
    assert info["containerRuntimeVersion"].startswith("containerd://1.")


def test_a_pod_runs_from_its_image_and_says_so(cluster: Cluster) -> None:
    cluster.apply(pod("first", "sh", "-c", "echo out; echo err >&2; cat /etc/passwd; sleep 1000"))
    cluster.wait("first", "condition=Ready", "60s")
    status = cluster.get("pod", "first")["status"]
    container = status["containerStatuses"][0]
    assert container["containerID"].startswith("containerd://")
    assert container["imageID"].startswith("sha256:")
    logs = cluster.kubectl("logs", "first")
    assert "out\n" in logs
    assert "guest:x:1000" in logs
    cluster.kubectl("delete", "pod", "first", "--grace-period=1", "--timeout=60s")
