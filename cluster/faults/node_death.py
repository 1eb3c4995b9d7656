"""The end of a node, timed: NotReady, eviction, and the replacement on another node.

Prints one JSON line. Deviations are from what was asked for: NotReady from the grace period after
the node's last sign of life, eviction from the toleration after the taint. Exits with 1 if one is
more than 5 s, or if the replacement is not Running 30 s after the eviction.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from actors import control, discovery
from actors.seams import system_seams
from cluster.client.config import ClientConfig
from cluster.client.informer import Informer
from cluster.client.rest import Client
from cluster.faults import nemeses
from cluster.kubelet.runtimes import reap
from cluster.machinery import meta

Object = dict[str, Any]

NAME = "node-death"
RESTART_S = 3.0
"""Until the supervisor has seen that the managers ended."""
WITHIN_S, REPLACED_S = 5.0, 30.0
DEFAULT_GRACE_S = 40.0
UNREACHABLE = "node.kubernetes.io/unreachable"


def application(toleration_s: int) -> Object:
    """One pod that leaves a dead node after `toleration_s`."""
    tolerations = [
        {
            "key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": toleration_s,
        }
        for key in ("unreachable", "not-ready")
    ]  # fmt: skip
    spec = {
        "tolerations": tolerations, "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "host", "command": ["sleep", "100000"]}],
    }  # fmt: skip
    labels = {"app": NAME}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }  # fmt: skip


class Observed:
    """When things were first seen, on this process's monotonic clock; set by informers."""

    def __init__(self) -> None:
        self.node, self.pod = "", ""
        self.renewed_s: dict[str, float] = {}
        """By node: its last sign of life."""
        self.marks: dict[str, float] = {}
        self.changed = asyncio.Event()

    def mark(self, name: str) -> None:
        self.marks.setdefault(name, time.monotonic())

    def on_lease(self, kind: str, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.renewed_s[new["metadata"]["name"]] = time.monotonic()

    def on_node(self, kind: str, old: Object | None, new: Object | None) -> None:
        if new is not None and meta.condition_is(new, "Ready"):
            self.renewed_s[new["metadata"]["name"]] = time.monotonic()
        if new is None or new["metadata"]["name"] != self.node:
            return
        if meta.condition_is(new, "Ready", "Unknown"):
            self.mark("not_ready")
        taints = (new.get("spec") or {}).get("taints") or ()
        if any(t["key"] == UNREACHABLE and t["effect"] == "NoExecute" for t in taints):
            self.mark("tainted")
        self.changed.set()

    def on_pod(self, kind: str, old: Object | None, new: Object | None) -> None:
        pod = new or old or {}
        running = (pod.get("status") or {}).get("phase") == "Running"
        if pod["metadata"]["name"] == self.pod:
            if pod["metadata"].get("deletionTimestamp") or new is None:
                self.mark("evicted")
        elif self.pod and running and pod["spec"].get("nodeName") != self.node:
            self.mark("replaced")
        elif not self.pod and running:
            self.pod, self.node = pod["metadata"]["name"], pod["spec"]["nodeName"]
        self.changed.set()

    async def until(self, name: str, timeout_s: float) -> None:
        """Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while name not in self.marks and not (name == "placed" and self.pod):
                self.changed.clear()
                await self.changed.wait()


async def run(folder: str, grace_s: float, toleration_s: int) -> bool:
    config = ClientConfig.from_kubeconfig(str(Path(folder) / "kubeconfig"))
    client = Client(config, system_seams(), "raykube-faults")
    seen = Observed()
    informers = [
        _informer(client, "nodes", "", "", seen.on_node),
        _informer(client, "leases.coordination.k8s.io", "kube-node-lease", "", seen.on_lease),
        _informer(client, "pods", "default", f"app={NAME}", seen.on_pod),
    ]
    try:
        await client.create("deployments.apps", application(toleration_s))
        await seen.until("placed", 60.0)
        power_off(folder, seen.node, hold_s=grace_s + toleration_s + REPLACED_S)
        silent_s = seen.renewed_s[seen.node]
        await seen.until("not_ready", grace_s + 60.0)
        await seen.until("evicted", toleration_s + 60.0)
        await seen.until("replaced", REPLACED_S + 30.0)
    finally:
        for informer in informers:
            await informer.stop()
        await client.delete("deployments.apps", NAME, "default", propagation="Background")
        await client.close()
    return _tell(seen, silent_s, grace_s, toleration_s)


def _informer(client: Client, resource: str, namespace: str, labels: str, handler: Any) -> Informer:
    informer = Informer(client, resource, namespace, labels)
    informer.subscribe(handler)
    informer.start()
    return informer


def power_off(folder: str, node: str, hold_s: float) -> None:
    """The kubelet, the proxy and all pods of a node end at once, and stay so for a while."""
    control.call(folder, {"verb": "kill", "name": node, "hold_s": hold_s})
    reap.power_off(os.path.join(folder, "nodes", node))


def _tell(seen: Observed, silent_s: float, grace_s: float, toleration_s: int) -> bool:
    marks = seen.marks
    late = {
        "not_ready": marks["not_ready"] - silent_s - grace_s,
        "evicted": marks["evicted"] - marks["tainted"] - toleration_s,
    }
    replaced_s = marks["replaced"] - marks["evicted"]
    line = {
        "node": seen.node, "grace_s": grace_s, "toleration_s": toleration_s,
        "not_ready_off_s": round(late["not_ready"], 2), "evicted_off_s": round(late["evicted"], 2),
        "replaced_after_eviction_s": round(replaced_s, 2),
    }  # fmt: skip
    print(json.dumps(line), flush=True)
    return max(map(abs, late.values())) <= WITHIN_S and replaced_s <= REPLACED_S


def shorten(folder: str, grace_s: float) -> None:
    """Give the managers another grace period; each starts again."""
    for name, entry in discovery.read(folder).items():
        if entry["kind"] == "controller-manager":
            settings = {"node_grace_s": grace_s}
            control.call(folder, {"verb": "configure", "name": name, "settings": settings})
    time.sleep(RESTART_S)
    while not nemeses.is_whole(discovery.read(folder)):
        time.sleep(0.1)


@click.command()
@click.argument("folder")
@click.option("--grace", default=0.0, help="set the managers' grace period, in seconds")
@click.option("--toleration", default=300, show_default=True, help="of the pod, in seconds")
def main(folder: str, grace: float, toleration: int) -> None:
    """Power a node of the cluster in FOLDER off, and time what follows."""
    if grace:
        shorten(folder, grace)
    passed = asyncio.run(run(folder, grace or DEFAULT_GRACE_S, toleration))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
