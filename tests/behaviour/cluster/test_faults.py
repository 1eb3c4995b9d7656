"""A cluster whose parts are killed goes on, and loses nothing that it acknowledged."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "guestbook" / "guestbook.yaml"

LONELY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: lonely}
spec:
  replicas: 1
  selector: {matchLabels: {app: lonely}}
  template:
    metadata: {labels: {app: lonely}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute,
         tolerationSeconds: 2}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute,
         tolerationSeconds: 2}
      containers:
      - {name: c, image: host, command: [sleep, "100000"]}
"""


def test_one_kill_of_everything_loses_no_acknowledged_write(cluster):
    command = [sys.executable, "-m", "cluster.faults.smoke", str(cluster.folder), str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    *faults, summary = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(faults) == 7
    assert summary["lost"] == 0
    assert summary["acknowledged_writes"] > 50
    cluster.kubectl("delete", "namespace", "faults", "--timeout=60s")


def test_draining_nodes_under_load_loses_no_request(cluster):
    command = [sys.executable, "-m", "cluster.faults.drain", str(cluster.folder), "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    drains = [json.loads(line) for line in done.stdout.splitlines()]
    assert [drain["failed"] for drain in drains] == [{"with-hook": 0, "graceful": 0}] * 2
    assert all(drain["answered"] > 50 for drain in drains)


def test_pods_of_a_node_that_stays_down_are_replaced_elsewhere(cluster, namespace, harness):
    def pod():
        items = cluster.get("pods", "-n", namespace, "-l", "app=lonely")["items"]
        alive = [item for item in items if "deletionTimestamp" not in item["metadata"]]
        return alive[0] if alive else None

    def ready(node):
        conditions = cluster.get("node", node)["status"]["conditions"]
        return next(each["status"] for each in conditions if each["type"] == "Ready")

    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=LONELY)
    cluster.kubectl("rollout", "status", "deployment/lonely", "-n", namespace, "--timeout=60s")
    first = pod()
    node = first["spec"]["nodeName"]
    cluster.raykube("kill", node, "--power-off", "--hold", "60s")
    begun = time.monotonic()
    harness.eventually(lambda: ready(node) == "Unknown", "the node is seen to be silent", 60)
    silent_s = time.monotonic() - begun
    harness.eventually(
        lambda: (now := pod()) and now["metadata"]["uid"] != first["metadata"]["uid"]
        and now["spec"].get("nodeName") not in (None, node)
        and now["status"]["phase"] == "Running",
        "the pod runs on another node", 60,
    )  # fmt: skip
    print(f"NotReady after {silent_s:.1f} s, replaced after {time.monotonic() - begun:.1f} s")
    taints = cluster.get("node", node)["spec"]["taints"]
    assert "node.kubernetes.io/unreachable" in {taint["key"] for taint in taints}
    harness.eventually(
        lambda: ready(node) == "True" and not cluster.get("node", node)["spec"].get("taints"),
        "the node is back, and may be used again", 90,
    )  # fmt: skip
