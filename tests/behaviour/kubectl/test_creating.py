"""create, run, expose, autoscale, set: objects made and changed by flags."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

DEPLOYMENT = ("create", "deployment", "web", "--image=nginx")

CREATED: dict[str, tuple[tuple[str, ...], str, str, Any]] = {
    "clusterrole": (
        ("reader", "--verb=get,list", "--resource=pods,deployments.apps"),
        "clusterrole", "{.rules[*].resources}", '["pods"] ["deployments"]'),
    "clusterrolebinding": (
        ("all", "--clusterrole=view", "--user=jane", "--group=g", "--serviceaccount=x:y"),
        "clusterrolebinding", "{.subjects[*].kind}", "User Group ServiceAccount"),
    "configmap": (("c", "--from-literal=a=b"), "configmap", "{.data}", '{"a":"b"}'),
    "cronjob": (
        ("c", "--image=i", "--schedule=*/5 * * * *", "--", "echo"), "cronjob",
        "{.spec.schedule} {.spec.concurrencyPolicy} {.spec.suspend}", "*/5 * * * * Allow false"),
    "deployment": (
        ("d", "--image=i", "--replicas=3", "--port=80"), "deployment",
        "{.spec.replicas} {.spec.strategy.rollingUpdate.maxSurge}", "3 25%"),
    "ingress": (
        ("i", "--class=x", "--rule=foo.com/bar*=svc:8080,tls=cert"), "ingress",
        "{.spec.rules[0].http.paths[0].pathType} {.spec.tls[0].secretName}", "Prefix cert"),
    "job": (
        ("j", "--image=i", "--", "sleep", "1"), "job",
        "{.spec.backoffLimit} {.spec.completionMode}", "6 NonIndexed"),
    "poddisruptionbudget": (
        ("p", "--selector=app=x", "--min-available=50%"), "poddisruptionbudget",
        "{.spec.minAvailable}", "50%"),
    "priorityclass": (
        ("urgent", "--value=1000", "--description=hi"), "priorityclass",
        "{.value} {.preemptionPolicy}", "1000 PreemptLowerPriority"),
    "quota": (("q", "--hard=cpu=10,pods=9"), "quota", "{.spec.hard}", '{"cpu":"10","pods":"9"}'),
    "role": (
        ("r", "--verb=get", "--resource=pods/log", "--resource-name=x"), "role",
        "{.rules[0].resources[0]} {.rules[0].resourceNames[0]}", "pods/log x"),
    "rolebinding": (
        ("r", "--role=x", "--user=jane"), "rolebinding", "{.roleRef.kind} {.subjects[0].apiGroup}",
        "Role rbac.authorization.k8s.io"),
    "secret generic": (
        ("s", "--from-literal=a=b"), "secret", "{.type} {.data.a}", "Opaque Yg=="),
    "secret docker-registry": (
        ("s2", "--docker-username=a", "--docker-password=b", "--docker-server=x"), "secret",
        "{.type}", "kubernetes.io/dockerconfigjson"),
    "service clusterip": (
        ("s", "--tcp=80:8080"), "service", "{.spec.type} {.spec.ports[0].targetPort}",
        "ClusterIP 8080"),
    "service externalname": (
        ("s3", "--external-name=x.y"), "service", "{.spec.externalName} {.spec.clusterIP}", "x.y "),
    "service loadbalancer": (
        ("s4", "--tcp=80"), "service", "{.spec.type} {.spec.allocateLoadBalancerNodePorts}",
        "LoadBalancer true"),
    "service nodeport": (("s5", "--tcp=80"), "service", "{.spec.type}", "NodePort"),
    "serviceaccount": (("a",), "serviceaccount", "{.metadata.name}", "a"),
}  # fmt: skip


@pytest.mark.parametrize("command", CREATED)
def test_each_create_command_sends_protobuf(kubectl: Any, wire: Any, command: str) -> None:
    flags, resource, path, expected = CREATED[command]
    said = kubectl("create", *command.split(), *flags)
    assert said.endswith(f"/{flags[0]} created\n")
    posted = kubectl.request("POST")
    assert posted.content_type == wire.protobuf
    assert posted.body.startswith(b"k8s\x00")
    assert posted.query["fieldManager"] == ["kubectl-create"]
    assert kubectl("get", resource, flags[0], f"-o=jsonpath={path}") == expected
    again = kubectl("create", *command.split(), *flags, ok=False)
    assert again.startswith("error: failed to create") or "(AlreadyExists)" in again
    assert f'"{flags[0]}" already exists' in again
    if resource in ("clusterrole", "clusterrolebinding", "priorityclass"):
        kubectl("delete", resource, flags[0])


@pytest.mark.parametrize("command", ["configmap", "secret generic", "role", "service nodeport"])
def test_a_dry_run_of_create_is_answered_and_not_kept(kubectl: Any, command: str) -> None:
    flags, resource, _, _ = CREATED[command]
    name, *rest = flags
    said = kubectl("create", *command.split(), name, *rest, "--dry-run=server")
    assert said.endswith(f"{name} created (server dry run)\n")
    assert kubectl.request("POST").query["dryRun"] == ["All"]
    assert "not found" in kubectl("get", resource, name, ok=False)


def test_create_namespace_and_token(kubectl: Any, wire: Any) -> None:
    kubectl("create", "namespace", "made-by-flags")
    assert kubectl.request("POST").content_type == wire.protobuf
    kubectl("delete", "namespace", "made-by-flags")
    kubectl("create", "serviceaccount", "robot")
    token = kubectl("create", "token", "robot", "--duration=600s", "--audience=vault").strip()
    asked = kubectl.request("POST", "/serviceaccounts/robot/token")
    assert asked.content_type == wire.protobuf
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert claims["sub"] == f"system:serviceaccount:{kubectl.namespace}:robot"
    assert claims["aud"] == ["vault"]
    assert claims["exp"] - claims["iat"] == 600
    kubectl("create", "secret", "generic", "holder")
    bound = ("--bound-object-kind=Secret", "--bound-object-name=holder")
    part = kubectl("create", "token", "robot", *bound).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert claims["kubernetes.io"]["secret"]["name"] == "holder"
    said = kubectl("create", "token", "robot", "--duration=5s", ok=False)
    assert "may not specify a duration less than 10 minutes" in said
    assert 'serviceaccounts "nobody" not found' in kubectl("create", "token", "nobody", ok=False)


def test_create_tls_secrets_from_files(kubectl: Any, tmp_path: Path) -> None:
    key, cert = str(tmp_path / "k"), str(tmp_path / "c")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", cert], check=True, capture_output=True
    )  # fmt: skip
    kubectl("create", "secret", "tls", "pair", f"--cert={cert}", f"--key={key}")
    assert kubectl("get", "secret", "pair", "-o=jsonpath={.type}") == "kubernetes.io/tls"


def test_create_from_a_file_asks_for_strict_validation(kubectl: Any, wire: Any) -> None:
    good = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "f"}})
    assert "configmap/f created" in kubectl("create", "-f", "-", stdin=good)
    posted = kubectl.request("POST")
    assert (posted.content_type, posted.query["fieldValidation"]) == (wire.json, ["Strict"])
    assert any(s.path == "/openapi/v3/api/v1" or s.path == "/openapi/v3" for s in kubectl.sent)
    bad = good.replace('"metadata"', '"dato": {}, "metadata"').replace('"f"', '"g"')
    said = kubectl("create", "-f", "-", stdin=bad, ok=False)
    assert "BadRequest" in said
    assert 'strict decoding error: unknown field "dato"' in said
    assert "configmap/g created" in kubectl("create", "--validate=warn", "-f", "-", stdin=bad)
    assert kubectl.request("POST").query["fieldValidation"] == ["Warn"]
    named = json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}}
    )
    assert kubectl("create", "-f", "-", stdin=named).startswith("configmap/g-")


def test_run_makes_a_pod(kubectl: Any, wire: Any) -> None:
    kubectl("run", "one", "--image=busybox", "--port=80", "--env=A=b", "--labels=a=b", "--", "x")
    posted = kubectl.request("POST")
    assert (posted.content_type, posted.query["fieldManager"]) == (wire.json, ["kubectl-run"])
    container = kubectl.get("pod", "one")["spec"]["containers"][0]
    assert (container["args"], container["env"]) == (["x"], [{"name": "A", "value": "b"}])
    kubectl.until("pod/one", "--for=condition=Ready")
    kubectl("delete", "pod", "one", "--now")


def test_expose_makes_a_service_of_what_it_finds(kubectl: Any) -> None:
    kubectl(*DEPLOYMENT, "--port=8080")
    assert "service/web exposed" in kubectl("expose", "deployment", "web", "--port=80")
    spec = kubectl.get("service", "web")["spec"]
    assert spec["selector"] == {"app": "web"}
    assert spec["ports"][0] == {"port": 80, "protocol": "TCP", "targetPort": 80}
    kubectl("run", "single", "--image=i", "--labels=run=single", "--port=9")
    kubectl("expose", "pod", "single", "--type=NodePort", "--name=outside")
    assert kubectl.get("service", "outside")["spec"]["ports"][0]["nodePort"] >= 30000
    assert "already exists" in kubectl("expose", "deployment", "web", "--port=80", ok=False)


def test_autoscale_makes_an_autoscaler(kubectl: Any, wire: Any) -> None:
    kubectl(*DEPLOYMENT)
    said = kubectl("autoscale", "deployment", "web", "--min=2", "--max=5", "--cpu-percent=80")
    assert "horizontalpodautoscaler.autoscaling/web autoscaled" in said
    posted = kubectl.request("POST", "/horizontalpodautoscalers")
    assert posted.content_type == wire.protobuf
    assert posted.path.startswith("/apis/autoscaling/v")
    spec = kubectl.get("hpa", "web")["spec"]
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    row = kubectl("get", "hpa", "web").splitlines()
    assert row[0].split() == [
        "NAME",
        "REFERENCE",
        "TARGETS",
        "MINPODS",
        "MAXPODS",
        "REPLICAS",
        "AGE",
    ]
    assert row[1].split()[1:4] == ["Deployment/web", "cpu:", "<unknown>/80%"]


def test_set_changes_templates_by_strategic_patches(kubectl: Any, wire: Any) -> None:
    kubectl(*DEPLOYMENT)
    kubectl("create", "configmap", "settings", "--from-literal=key=1")
    kubectl("create", "serviceaccount", "robot")
    for args, said in (
        (("image", "deployment/web", "nginx=nginx:2"), "image updated"),
        (("env", "deployment/web", "A=1", "B=2"), "env updated"),
        (("env", "deployment/web", "--from=configmap/settings", "--prefix=P_"), "env updated"),
        (("env", "deployment/web", "A-"), "env updated"),
        (("resources", "deployment/web", "--limits=cpu=200m", "--requests=cpu=100m"),
         "resource requirements updated"),
        (("serviceaccount", "deployment/web", "robot"), "serviceaccount updated"),
    ):  # fmt: skip
        assert said in kubectl("set", *args)
        assert kubectl.request("PATCH").content_type == wire.strategic
    spec = kubectl.get("deployment", "web")["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert container["image"] == "nginx:2"
    assert [e["name"] for e in container["env"]] == ["B", "P_KEY"]
    assert container["env"][1]["valueFrom"]["configMapKeyRef"] == {"key": "key", "name": "settings"}
    assert container["resources"] == {"limits": {"cpu": "200m"}, "requests": {"cpu": "100m"}}
    assert spec["serviceAccountName"] == "robot"
    assert "B=2" in kubectl("set", "env", "deployment/web", "--list")


def test_set_changes_selectors_and_subjects(kubectl: Any, wire: Any) -> None:
    kubectl("create", "service", "clusterip", "s", "--tcp=80")
    kubectl("set", "selector", "service/s", "a=b")
    assert kubectl.get("service", "s")["spec"]["selector"] == {"a": "b"}
    kubectl("create", "rolebinding", "r", "--role=x", "--user=jane")
    kubectl("set", "subject", "rolebinding", "r", "--user=joe", "--serviceaccount=x:y")
    assert kubectl.request("PATCH").content_type == wire.strategic
    names = [s["name"] for s in kubectl.get("rolebinding", "r")["subjects"]]
    assert names == ["jane", "joe", "y"]
