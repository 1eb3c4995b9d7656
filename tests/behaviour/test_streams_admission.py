"""Webhooks of both kinds judge and change connections to pods, with the real kubectl."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from node_cluster import Cluster, eventually, needs_kubectl, pod

_spec = importlib.util.spec_from_file_location(
    "webhook_fixture", Path(__file__).parents[1] / "unit/apiserver/webhook_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
webhook_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(webhook_fixture)

pytestmark = needs_kubectl

DENIED = 'admission webhook "{}.example.com" denied the request: '


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("streams"), uvloop.new_event_loop())
    made.apply(pod("box", "sleep", "10000"))
    made.wait("box", "condition=Ready")
    yield made
    made.close()


@pytest.fixture
def hooks(cluster: Cluster) -> Iterator[Any]:
    def issue(name: str, server: bool) -> dict[str, str]:
        return cluster._files(name, names=["127.0.0.1"] if server else [])

    ca = cluster._files("anyone")["ca"]
    server = webhook_fixture.WebhookServer(SimpleNamespace(ca=ca, issue=issue))
    yield server
    for kind in ("mutating", "validating"):
        cluster.kubectl("delete", f"{kind}webhookconfiguration", "--all")
    server.close()


def register(cluster: Cluster, hooks: Any, kind: str, path: str, resource: str) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"]}
    hook = {
        "name": f"{path}.example.com",
        "clientConfig": hooks.client_config(path),
        "rules": [rule | {"resources": [resource]}],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    cluster.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": path},
            "webhooks": [hook],
        }
    )


def run(cluster: Cluster, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        cluster.command("exec", "box", "--", *command), capture_output=True, text=True, timeout=60
    )


def test_a_validating_webhook_sees_the_options_and_its_refusal_reaches_kubectl(
    cluster: Cluster, hooks: Any
) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        allowed = "forbidden" not in request["object"]["command"]
        return {"allowed": allowed, "status": {"code": 403, "message": "not this one"}}

    hooks.answers["judge"] = answer
    register(cluster, hooks, "Validating", "judge", "pods/exec")
    eventually(lambda: run(cluster, "echo", "forbidden").returncode != 0)
    assert DENIED.format("judge") + "not this one" in run(cluster, "echo", "forbidden").stderr
    assert run(cluster, "echo", "fine").stdout == "fine\n"
    seen = hooks.reviews("judge")[-1]
    assert seen["operation"] == "CONNECT"
    assert seen["kind"] == {"group": "", "version": "v1", "kind": "PodExecOptions"}
    assert (seen["resource"]["resource"], seen["subResource"]) == ("pods", "exec")
    assert (seen["namespace"], seen["name"]) == ("default", "box")
    assert (seen["oldObject"], seen["userInfo"]["username"]) == (None, "admin")
    assert seen["object"] == {
        "kind": "PodExecOptions", "apiVersion": "v1", "container": "main", "stdout": True,
        "stderr": True, "command": ["echo", "fine"],
    }  # fmt: skip


def test_a_mutating_webhook_changes_what_is_run_before_others_judge_it(
    cluster: Cluster, hooks: Any
) -> None:
    change = {"op": "replace", "path": "/command", "value": ["echo", "changed"]}
    hooks.answers["change"] = lambda request: webhook_fixture.patch(change)
    hooks.answers["see"] = lambda request: {"allowed": True}
    register(cluster, hooks, "Validating", "see", "pods/exec")
    register(cluster, hooks, "Mutating", "change", "pods/exec")
    eventually(lambda: run(cluster, "echo", "asked").stdout == "changed\n")
    assert hooks.reviews("see")[-1]["object"]["command"] == ["echo", "changed"]


def test_a_mutating_webhook_may_refuse_a_forward(cluster: Cluster, hooks: Any) -> None:
    refusal = {"allowed": False, "status": {"message": "no ports today"}}
    hooks.answers["ports"] = lambda request: refusal
    register(cluster, hooks, "Mutating", "ports", "pods/portforward")
    path = "/api/v1/namespaces/default/pods/box/portforward?ports=80,81"
    refused = DENIED.format("ports") + "no ports today"
    asked = cluster.command("create", "--raw", path, "-f", "/dev/null")

    def answered() -> str:
        return subprocess.run(asked, capture_output=True, text=True, timeout=60).stderr

    eventually(lambda: refused in answered())
    assert hooks.reviews("ports")[-1]["object"] == {
        "kind": "PodPortForwardOptions", "apiVersion": "v1", "ports": [80, 81]
    }  # fmt: skip
    forward = subprocess.run(
        cluster.command("port-forward", "box", ":80"), input="", capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert (forward.returncode, refused in forward.stderr) == (1, True), forward
