"""metrics.k8s.io in a whole cluster, as `raykube up` starts it."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "busy"},
    "spec": {
        "containers": [
            {"name": "c", "image": "any", "command": ["sh", "-c", "while :; do :; done"]},
        ],
        "terminationGracePeriodSeconds": 0,
    },
}


def test_kubectl_top_tells_what_nodes_and_containers_use(
    cluster: Any, harness: Any, namespace: str
) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(POD))

    def nodes() -> list[str]:
        told = cluster.kubectl("top", "nodes", "--no-headers", check=False)
        return sorted(line.split()[0] for line in told.stdout.splitlines())

    harness.eventually(lambda: nodes() == ["node-0", "node-1", "node-2"], "nodes are measured")

    def used() -> int:
        command = ("top", "pods", "-n", namespace, "--containers", "--no-headers")
        told = cluster.kubectl(*command, check=False).stdout.split()
        return int(told[2].removesuffix("m")) if told[:2] == ["busy", "c"] else 0

    harness.eventually(lambda: used() > 50, "the container is measured")
