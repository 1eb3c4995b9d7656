"""Workloads whose pods are real processes."""

from __future__ import annotations

import json
from typing import Any

WORKLOADS: list[dict[str, Any]] = [
    {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "count"},
        "spec": {
            "completions": 3,
            "parallelism": 2,
            "completionMode": "Indexed",
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "c",
                            "image": "none",
                            "command": ["sh", "-c", "echo index $JOB_COMPLETION_INDEX"],
                        }
                    ],
                }
            },
        },
    },
    {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {
                    "containers": [{"name": "c", "image": "none", "command": ["sleep", "1000"]}]
                },
            },
        },
    },
]


def test_a_job_ends_and_a_daemon_runs_on_every_node(cluster: Any, namespace: str) -> None:
    manifest = cluster.folder / f"{namespace}.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": WORKLOADS}))
    cluster.kubectl("-n", namespace, "create", "-f", str(manifest))
    cluster.kubectl("-n", namespace, "rollout", "status", "daemonset/agent", "--timeout=60s")
    wait = ("wait", "job/count", "--for=condition=complete", "--timeout=60s")
    cluster.kubectl("-n", namespace, *wait)
    found = json.loads(cluster.kubectl("-n", namespace, "get", "pods", "-o", "json").stdout)
    daemons = [p for p in found["items"] if p["metadata"]["labels"].get("app") == "agent"]
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json").stdout)["items"]
    names = sorted(node["metadata"]["name"] for node in nodes)
    assert sorted(pod["spec"]["nodeName"] for pod in daemons) == names
    logs = cluster.kubectl("-n", namespace, "logs", "-l", "job-name=count").stdout
    assert sorted(logs.split("\n")) == ["", "index 0", "index 1", "index 2"]
