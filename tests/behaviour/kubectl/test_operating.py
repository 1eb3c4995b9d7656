"""cordon, drain, taint, certificate, auth, debug: what administrators do."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@pytest.fixture
def node(kubectl: Any) -> Any:
    """A node of this test's own, which nothing is scheduled to by itself."""
    name = f"n-{kubectl.namespace[:20].strip('-')}"
    room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    obj = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": [{"key": "test", "effect": "NoSchedule"}]},
        "status": {"allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(obj))
    yield name
    kubectl("delete", "node", name)


def test_cordon_and_taint_patch_the_node(kubectl: Any, node: str, wire: Any) -> None:
    assert kubectl("cordon", node) == f"node/{node} cordoned\n"
    patch = kubectl.request("PATCH")
    assert (patch.content_type, patch.json) == (wire.strategic, {"spec": {"unschedulable": True}})
    assert kubectl("cordon", node) == f"node/{node} already cordoned\n"
    assert "SchedulingDisabled" in kubectl("get", "node", node)
    assert kubectl("uncordon", node) == f"node/{node} uncordoned\n"
    assert kubectl("taint", "node", node, "a=b:NoSchedule") == f"node/{node} tainted\n"
    assert kubectl.request("PATCH").content_type == wire.strategic
    said = kubectl("taint", "node", node, "a=c:NoSchedule", ok=False)
    assert "already has a taint(s) with same effect(s) and --overwrite is false" in said or (
        "already has a" in said
    )
    kubectl("taint", "node", node, "a=c:NoSchedule", "--overwrite")
    taints = kubectl.get("node", node)["spec"]["taints"]
    assert {"key": "a", "value": "c", "effect": "NoSchedule"} in taints
    assert kubectl("taint", "node", node, "a-") == f"node/{node} untainted\n"


def test_drain_evicts_and_waits_for_budgets(kubectl: Any, node: str, wire: Any) -> None:
    budget = ("create", "poddisruptionbudget", "keep", "--selector=app=x", "--min-available=1")
    kubectl(*budget)
    for name in ("one", "two"):
        overrides = json.dumps({"spec": {"nodeName": node}})
        kubectl("run", name, "--image=i", "--labels=app=x", f"--overrides={overrides}")
    kubectl.until("pod", "--all", "--for=condition=Ready")
    kubectl.until("pdb/keep", "--for=jsonpath={.status.disruptionsAllowed}=1")
    said = kubectl("drain", node, "--timeout=1s", ok=False)
    assert "cannot delete Pods that declare no controller (use --force to override)" in said
    dry = kubectl("drain", node, "--force", "--dry-run=server")
    assert "(server dry run)" in dry
    kubectl("drain", node, "--force", "--grace-period=0", "--timeout=2s", ok=False)
    listed = next(s for s in kubectl.sent if s.path == "/api/v1/pods")
    assert listed.query["fieldSelector"] == [f"spec.nodeName={node}"]
    evictions = [s for s in kubectl.sent if s.path.endswith("/eviction")]
    assert {s.content_type for s in evictions} <= {wire.protobuf, wire.json}
    assert len(evictions) >= 2
    assert len(kubectl.get("pods")["items"]) == 1
    kubectl("delete", "pdb", "keep")
    said = kubectl("drain", node, "--force", "--grace-period=0", "--timeout=20s")
    assert said.endswith(f"node/{node} drained\n")
    assert kubectl.get("pods")["items"] == []


def test_drain_leaves_daemons_alone(kubectl: Any, node: str) -> None:
    template = {
        "metadata": {"labels": {"a": "ds"}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "c", "image": "i"}],
        },
    }
    daemons = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "ds"},
        "spec": {"selector": {"matchLabels": {"a": "ds"}}, "template": template},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(daemons))
    kubectl("rollout", "status", "daemonset/ds", "--timeout=30s")
    (pod,) = kubectl.get("pods")["items"]
    said = kubectl("drain", node, "--timeout=10s", ok=False)
    assert "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)" in said
    assert f"node/{node} drained" in kubectl("drain", node, "--ignore-daemonsets")
    assert kubectl.get("pods")["items"][0]["metadata"]["uid"] == pod["metadata"]["uid"]


def signing_request(name: str) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bob")])
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    request = base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {
        "request": request, "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"], "expirationSeconds": 3600,
    }  # fmt: skip
    return json.dumps({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                       "metadata": {"name": name}, "spec": spec})  # fmt: skip


def test_certificates_are_approved_and_denied(kubectl: Any, wire: Any) -> None:
    for name in ("bob", "eve"):
        kubectl("create", "-f", "-", stdin=signing_request(name))
    row = kubectl("get", "csr", "bob").splitlines()
    assert row[0].split() == [
        "NAME", "AGE", "SIGNERNAME", "REQUESTOR", "REQUESTEDDURATION", "CONDITION"
    ]  # fmt: skip
    assert row[1].split()[2:] == ["kubernetes.io/kube-apiserver-client", "admin", "60m", "Pending"]
    said = kubectl("certificate", "approve", "bob")
    assert said == "certificatesigningrequest.certificates.k8s.io/bob approved\n"
    put = kubectl.request("PUT", "/certificatesigningrequests/bob/approval")
    assert put.content_type == wire.protobuf
    assert kubectl("certificate", "deny", "eve").endswith("/eve denied\n")
    assert "is already Denied" in kubectl("certificate", "approve", "eve", ok=False)
    assert kubectl("get", "csr", "eve").rstrip().endswith("Denied")
    assert "Common Name:    bob" in kubectl("describe", "csr", "bob")
    kubectl("delete", "csr", "bob", "eve")


def test_can_i_and_who_am_i(kubectl: Any, wire: Any) -> None:
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    asked = kubectl.request("POST", "/selfsubjectaccessreviews")
    assert asked.content_type == wire.protobuf
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log")
    kubectl("create", "rolebinding", "jane", "--role=reader", "--user=jane")
    as_jane = ("--as=jane",)
    assert kubectl("auth", "can-i", "get", "pods", *as_jane) == "yes\n"
    assert kubectl("auth", "can-i", "get", "pods", "--subresource=log", *as_jane) == "yes\n"
    for question in (("delete", "pods"), ("get", "pods", "-A"), ("get", "/metrics")):
        kubectl("auth", "can-i", *question, *as_jane, ok=False)
    listed = kubectl("auth", "can-i", "--list", *as_jane)
    assert kubectl.request("POST", "/selfsubjectrulesreviews").content_type == wire.protobuf
    row = next(line for line in listed.splitlines() if line.startswith("pods "))
    assert row.split()[-2:] == ["[get", "list]"]
    who = kubectl("auth", "whoami", "--as=x", "--as-group=g", "--as-uid=7", "-o", "json")
    assert kubectl.request("POST", "/selfsubjectreviews").content_type == wire.protobuf
    info = json.loads(who)["status"]["userInfo"]
    assert info == {"username": "x", "uid": "7", "groups": ["g", "system:authenticated"]}


ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}


def test_reconcile_widens_roles_and_narrows_them_when_told(kubectl: Any) -> None:
    def role(verb: str) -> str:
        metadata = {"name": "r", "namespace": kubectl.namespace}
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]
        return json.dumps({**ROLE, "metadata": metadata, "rules": rules})

    def verbs() -> list[str]:
        return [v for rule in kubectl.get("role", "r")["rules"] for v in rule["verbs"]]

    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", stdin=role("get"))
    kubectl("auth", "reconcile", "-f", "-", stdin=role("list"))
    assert sorted(verbs()) == ["get", "list"]
    kubectl("auth", "reconcile", "--remove-extra-permissions", "-f", "-", stdin=role("watch"))
    assert verbs() == ["watch"]


def test_debug_adds_a_container_copies_a_pod_or_enters_a_node(kubectl: Any, wire: Any) -> None:
    kubectl("run", "p", "--image=i")
    common = ("--image=busybox", "--attach=false")
    kubectl("debug", "p", "-c", "dbg", "--target=p", *common)
    patch = kubectl.request("PATCH", "/pods/p/ephemeralcontainers")
    assert patch.content_type == wire.strategic
    ephemeral = kubectl.get("pod", "p")["spec"]["ephemeralContainers"][0]
    assert (ephemeral["name"], ephemeral["targetContainerName"]) == ("dbg", "p")
    kubectl("debug", "p", "--copy-to=p2", "--share-processes", "-c", "dbg", *common)
    kubectl.request("POST", "/pods")
    copy = kubectl.get("pod", "p2")["spec"]
    assert copy["shareProcessNamespace"] is True
    assert [c["name"] for c in copy["containers"]] == ["p", "dbg"]
    kubectl("debug", "node/n1", *common)
    pods = [p for p in kubectl.get("pods")["items"] if p["metadata"]["name"].startswith("node-")]
    assert pods[0]["spec"]["hostPID"] is True
