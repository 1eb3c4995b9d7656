"""helm, unmodified: a chart with a definition, a hook and a workload, from install to uninstall.

Where helm is missing the same requests are made with the Python client: releases as labelled
Secrets that are found by selectors, and three-way merges of what the chart has rendered.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHART = str(Path(__file__).parent / "charts/web")
HELM = shutil.which("helm")
needs_helm = pytest.mark.skipif(HELM is None, reason="no helm on PATH: scripts/helm-path gets one")


class Helm:
    def __init__(self, kubectl: Any, home: Path) -> None:
        self.kubectl = kubectl
        self._environment = os.environ | {
            "KUBECONFIG": kubectl.cluster.kubeconfig, "HELM_CACHE_HOME": str(home / "cache"),
            "HELM_CONFIG_HOME": str(home / "config"), "HELM_DATA_HOME": str(home / "data"),
            "HELM_NAMESPACE": kubectl.namespace,
        }  # fmt: skip

    def __call__(self, *args: str, ok: bool = True) -> str:
        assert HELM is not None
        done = subprocess.run(
            [HELM, *args], env=self._environment, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout if ok else done.stderr

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "-o", "json"))

    def deployment(self) -> Any:
        return self.kubectl.get("deployment", "web")["spec"]


@pytest.fixture
def helm(kubectl: Any, tmp_path: Path) -> Any:
    return Helm(kubectl, tmp_path)


WAIT = ("--wait", "--timeout=60s")


@needs_helm
def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled(helm: Any) -> None:
    kubectl = helm.kubectl
    helm("install", "web", CHART, *WAIT)
    assert helm.json("list")[0]["status"] == "deployed"
    assert kubectl.get("gadget", "web")["spec"] == {"size": 1}
    assert kubectl.get("configmap", "web")["data"]["kube"].startswith("v1.34.")
    assert kubectl.get("configmap", "web-before")["data"] == {"revision": "1"}
    kubectl("annotate", "deployment", "web", "by=hand")
    kubectl("patch", "deployment", "web", "-p", '{"spec":{"minReadySeconds":1}}')
    helm("upgrade", "web", CHART, "--set=replicas=2,image=nginx:2,autoscaling=true", *WAIT)
    found = helm.deployment()
    assert (found["replicas"], found["minReadySeconds"]) == (2, 1), "three ways"
    assert found["template"]["spec"]["containers"][0]["image"] == "nginx:2"
    assert kubectl.get("hpa", "web")["spec"]["maxReplicas"] == 3
    assert kubectl.get("configmap", "web-before")["data"] == {"revision": "2"}
    helm("rollback", "web", "1", *WAIT)
    assert helm.deployment()["template"]["spec"]["containers"][0]["image"] == "nginx:1"
    assert kubectl.get("deployment", "web")["metadata"]["annotations"]["by"] == "hand"
    assert "NotFound" in kubectl("get", "hpa", "web", ok=False)
    history = [(each["revision"], each["status"]) for each in helm.json("history", "web")]
    assert history == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    assert "web-before" in helm("get", "hooks", "web")
    helm("uninstall", "web", *WAIT)
    assert helm.json("list", "--all") == []
    left = kubectl("get", "deployments,services,configmaps,gadgets", "-o", "name").split()
    assert left == ["configmap/kube-root-ca.crt", "configmap/web-before"]


@needs_helm
def test_what_stands_in_the_way_is_told(helm: Any) -> None:
    helm.kubectl("create", "configmap", "web")
    said = helm("install", "web", CHART, ok=False)
    assert 'ConfigMap "web" in namespace' in said
    assert "invalid ownership metadata" in said
    helm.kubectl("delete", "configmap", "web")
    assert "web" in helm("install", "web", CHART, "--dry-run=server")
    assert "NotFound" in helm.kubectl("get", "deployment", "web", ok=False)
    said = helm("install", "web", CHART, "--set=replicas=-1", ok=False)
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in said
    assert helm.json("list", "--all")[0]["status"] == "failed"
    helm("upgrade", "--install", "--reset-values", "web", CHART, *WAIT)
    assert helm.json("list")[0]["revision"] == "2"
    helm("uninstall", "web")


def release(name: str, revision: int, status: str) -> dict[str, Any]:
    """A release as helm keeps it: gzipped JSON in base64, found by its labels."""
    body = {"name": name, "version": revision, "info": {"status": status}, "manifest": "---\n"}
    packed = base64.b64encode(gzip.compress(json.dumps(body).encode()))
    labels = {"name": name, "owner": "helm", "status": status, "version": str(revision)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {"name": f"sh.helm.release.v1.{name}.v{revision}", "labels": labels},
        "data": {"release": base64.b64encode(packed).decode()},
    }


def test_the_requests_of_helm_through_the_python_client(cluster: Any, namespace: str) -> None:
    kubernetes = pytest.importorskip("kubernetes")
    with kubernetes.config.new_client_from_config(cluster.kubeconfig) as client:
        core, apps = kubernetes.client.CoreV1Api(client), kubernetes.client.AppsV1Api(client)
        for revision, status in ((1, "superseded"), (2, "deployed")):
            core.create_namespaced_secret(namespace, release("web", revision, status))
        with pytest.raises(kubernetes.client.ApiException) as refused:
            core.create_namespaced_secret(namespace, release("web", 2, "deployed"))
        assert refused.value.status == 409
        found = core.list_namespaced_secret(
            namespace, label_selector="name=web,owner=helm,status in (deployed,pending-upgrade)"
        ).items
        (last,) = [secret.metadata.labels["version"] for secret in found]
        assert last == "2"
        spec: dict[str, Any] = {
            "replicas": 1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                {"name": "web", "image": "nginx:1"}, {"name": "side", "image": "side:1"}]}},
        }  # fmt: skip
        apps.create_namespaced_deployment(namespace, {"metadata": {"name": "web"}, "spec": spec})
        patch = {"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "web"}],
            "containers": [{"name": "web", "image": "nginx:2"},
                           {"$patch": "delete", "name": "side"}]}}}}  # fmt: skip
        merged = apps.patch_namespaced_deployment("web", namespace, patch)
        containers = merged.spec.template.spec.containers
        assert [(c.name, c.image) for c in containers] == [("web", "nginx:2")]
