"""`kubectl drain` of nodes under load: a Service with two ready replicas loses no request.

Two applications take part: one that ends as soon as it is told to, with a preStop hook that lets
its address be forgotten first, and one without a hook that goes on serving for a second, and then
finishes what it has begun. Prints a JSON line for each drain, and exits with 1 if a request failed
or a drain did not end.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from actors.seams import system_seams
from cluster.client.config import ClientConfig
from cluster.client.rest import Client
from cluster.faults.workloads import Requester

NAMESPACE = "drain"
CLIENTS = 4
SETTLE_S = 1.0
TIMEOUT = "--timeout=90s"

SERVER = """
import http.server, os, signal, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.01)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
server = Server((os.environ["POD_IP"], 8080), Handler)
def finish():
    time.sleep(1)
    server.shutdown()
def end(*args):
    threading.Thread(target=finish).start()
if os.environ["GRACEFUL"] == "yes":
    signal.signal(signal.SIGTERM, end)
server.serve_forever()
server.server_close()
"""


def application(name: str, graceful: bool) -> list[dict[str, Any]]:
    """A Deployment of two on different nodes, its Service and its budget."""
    labels = {"app": name}
    container: dict[str, Any] = {
        "name": "c", "image": "host", "command": ["python3", "-c", SERVER],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "GRACEFUL", "value": "yes" if graceful else "no"},
        ],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }  # fmt: skip
    if not graceful:
        container["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "2"]}}}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    spec = {
        "containers": [container], "terminationGracePeriodSeconds": 10,
        "affinity": {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        },
    }  # fmt: skip
    template = {"metadata": {"labels": labels}, "spec": spec}
    selector = {"matchLabels": labels}
    return [
        _object("apps/v1", "Deployment", name, replicas=2, selector=selector, template=template),
        _object("v1", "Service", name, selector=labels, ports=[{"port": 80, "targetPort": 8080}]),
        _object("policy/v1", "PodDisruptionBudget", name, minAvailable=1, selector=selector),
    ]


def _object(api_version: str, kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec
    }  # fmt: skip


APPLICATIONS = {"with-hook": False, "graceful": True}
"""Names, and whether they finish what they have begun by themselves."""


class Drain:
    """The applications on the cluster in `folder`, and nodes drained under them."""

    def __init__(self, folder: str) -> None:
        self._kubeconfig = str(Path(folder) / "kubeconfig")
        config = ClientConfig.from_kubeconfig(self._kubeconfig)
        self._client = Client(config, system_seams(), "raykube-faults")
        self._requesters: dict[str, list[Requester]] = {}

    async def run(self, times: int) -> bool:
        """Whether nothing was lost."""
        await self._deploy()
        tasks = [
            asyncio.create_task(requester.run())
            for requesters in self._requesters.values()
            for requester in requesters
        ]
        try:
            results = [await self._drain(number) for number in range(times)]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._kubectl("delete", "namespace", NAMESPACE, "--wait=false")
            await self._client.close()
        return all(results)

    async def _deploy(self) -> None:
        await self._kubectl("create", "namespace", NAMESPACE)
        items = [each for name, how in APPLICATIONS.items() for each in application(name, how)]
        document = {"apiVersion": "v1", "kind": "List", "items": items}
        await self._kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(document))
        await self._ready()
        for name in APPLICATIONS:
            service = await self._client.get("services", name, NAMESPACE)
            host = service["spec"]["clusterIP"]
            self._requesters[name] = [Requester(host, 80, period_s=0.0) for _ in range(CLIENTS)]
        await asyncio.sleep(SETTLE_S)

    async def _ready(self) -> None:
        for name in APPLICATIONS:
            await self._kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{name}", TIMEOUT)

    async def _drain(self, number: int) -> bool:
        pods = (await self._client.list("pods", NAMESPACE))["items"]
        nodes = sorted({pod["spec"]["nodeName"] for pod in pods})
        node = nodes[number % len(nodes)]
        await asyncio.sleep(SETTLE_S)
        for requesters in self._requesters.values():
            for requester in requesters:
                requester.outages.begin()
        before = self._answered()
        begun_s = time.monotonic()
        options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", TIMEOUT)
        await self._kubectl("drain", node, *options)
        drained_s = time.monotonic() - begun_s
        await self._ready()
        await asyncio.sleep(SETTLE_S)
        await self._kubectl("uncordon", node)
        failed = {
            name: sum(each.outages.failed for each in requesters)
            for name, requesters in self._requesters.items()
        }
        line = {
            "drained": node, "drain_s": round(drained_s, 2),
            "answered": self._answered() - before, "failed": failed,
            "errors": self._errors() if any(failed.values()) else [],
        }  # fmt: skip
        print(json.dumps(line), flush=True)
        return not any(failed.values())

    def _answered(self) -> int:
        return sum(r.outages.succeeded for each in self._requesters.values() for r in each)

    def _errors(self) -> list[str]:
        found = [
            f"{name}: {error}"
            for name, requesters in self._requesters.items()
            for requester in requesters
            for error in requester.outages.errors[-2:]
        ]
        return found[:8]

    async def _kubectl(self, *arguments: str, stdin: str = "") -> None:
        command = ["kubectl", "--kubeconfig", self._kubeconfig, *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, input=stdin, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")


def main() -> None:
    """usage: python -m cluster.faults.drain CLUSTER_FOLDER [TIMES]"""
    folder, *rest = sys.argv[1:]
    passed = asyncio.run(Drain(folder).run(int(rest[0]) if rest else 3))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
