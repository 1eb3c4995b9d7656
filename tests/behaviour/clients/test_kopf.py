"""kopf operators, unmodified: their own admission server, timers, daemons, finalizers, peering."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("kopf") is None, reason="kopf is not installed"
)
OPERATOR = Path(__file__).parents[1] / "operators/gauges.py"
GROUP = "kopf.example.com"


def definition(plural: str, kind: str, group: str, scope: str = "Namespaced") -> dict[str, Any]:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind},
            "versions": [{
                "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    }  # fmt: skip


def gauge(limit: int) -> str:
    return json.dumps({
        "apiVersion": f"{GROUP}/v1", "kind": "Gauge", "metadata": {"name": "g"},
        "spec": {"limit": limit},
    })  # fmt: skip


class Operator:
    """One `kopf run`, and what it says."""

    def __init__(self, kubectl: Any, log: Path, *args: str, **environment: str) -> None:
        self.log = log
        command = [sys.executable, "-m", "kopf", "run", "-n", kubectl.namespace, *args]
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [*command, str(OPERATOR)], stdout=out, stderr=out,
                env=os.environ | {"KUBECONFIG": kubectl.cluster.kubeconfig, **environment},
            )  # fmt: skip

    def until(self, holds: Callable[[], Any], timeout_s: float = 40) -> Any:
        end_s = time.monotonic() + timeout_s
        while not (found := holds()):
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end_s, self.log.read_text()[-3000:]
            time.sleep(0.1)
        return found

    def says(self, text: str) -> None:
        self.until(lambda: text in self.log.read_text())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def operators(kubectl: Any, tmp_path: Path) -> Iterator[Any]:
    kubectl("apply", "-f", "-", stdin=json.dumps(definition("gauges", "Gauge", GROUP)))
    running: list[Operator] = []

    def start(name: str, *args: str, **environment: str) -> Operator:
        running.append(Operator(kubectl, tmp_path / f"{name}.log", *args, **environment))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def status(kubectl: Any) -> dict[str, Any]:
    found: dict[str, Any] = kubectl.get("gauge", "g").get("status") or {}
    return found


def test_webhooks_timers_daemons_and_finalizers(kubectl: Any, operators: Any) -> None:
    tls = kubectl.cluster.authority.issue("webhooks", server=True)
    certificates = {"CERT": tls["cert"], "KEY": tls["key"], "CA": tls["ca"]}
    operator = operators(
        "one", "--standalone", **{f"WEBHOOK_{name}": path for name, path in certificates.items()}
    )
    operator.until(lambda: "auto.kopf.dev" in kubectl("get", "validatingwebhookconfigurations"))
    operator.until(lambda: "auto.kopf.dev" in kubectl("get", "mutatingwebhookconfigurations"))
    operator.until(
        lambda: kubectl.get("mutatingwebhookconfiguration", "auto.kopf.dev").get("webhooks")
    )
    said = kubectl("apply", "-f", "-", stdin=gauge(101), ok=False)
    assert "the limit is at most 100" in said
    kubectl("apply", "-f", "-", stdin=gauge(60))
    assert kubectl.get("gauge", "g")["spec"] == {"limit": 60, "unit": "bar"}
    operator.until(lambda: status(kubectl).get("create") == {"tries": 2})
    operator.says("guarding g")
    operator.until(lambda: status(kubectl).get("ticks", 0) >= 2)
    assert f"{GROUP}/guard" in kubectl.get("gauge", "g")["metadata"]["finalizers"]
    kubectl("apply", "-f", "-", stdin=gauge(70))
    operator.until(lambda: status(kubectl).get("limits") == "60->70")
    kubectl("create", "configmap", "indexed")
    kubectl("label", "configmap", "indexed", "gauge=g")
    operator.says("seen indexed")
    kubectl("delete", "gauge", "g", "--timeout=30s")
    operator.says("end of g with ['indexed']")
    kubectl("delete", "validatingwebhookconfiguration", "auto.kopf.dev")
    kubectl("delete", "mutatingwebhookconfiguration", "auto.kopf.dev")


def test_of_two_peers_the_one_with_the_higher_priority_works(kubectl: Any, operators: Any) -> None:
    peers = definition("kopfpeerings", "KopfPeering", "kopf.dev")
    kubectl("apply", "-f", "-", stdin=json.dumps(peers))
    peering = {"apiVersion": "kopf.dev/v1", "kind": "KopfPeering", "metadata": {"name": "team"}}
    kubectl("apply", "-f", "-", stdin=json.dumps(peering))
    low = operators("low", "--peering=team", "--priority=1")
    low.until(lambda: len(kubectl.get("kopfpeering", "team").get("status") or {}) == 1)
    high = operators("high", "--peering=team", "--priority=100")
    low.says("Pausing operations")
    kubectl("apply", "-f", "-", stdin=gauge(1))
    high.until(lambda: status(kubectl).get("create") == {"tries": 2})
    assert "Handler 'create'" not in low.log.read_text()
    kubectl("delete", "gauge", "g", "--timeout=30s")
    high.stop()
    low.says("Resuming operations")
