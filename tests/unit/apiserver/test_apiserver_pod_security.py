"""PodSecurity by the labels of namespaces, and with the real kubectl."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_fixture import KUBECTL, RunningApi

MERGE = {"Content-Type": "application/merge-patch+json"}
SAFE = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("api")
    exemptions = {"namespaces": ["trusted"], "usernames": ["robot"]}
    settings = {"kind": "PodSecurityConfiguration", "exemptions": exemptions}
    plugins = [{"name": "PodSecurity", "configuration": settings}]
    document = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration"}
    path = folder / "admission.yaml"
    path.write_text(json.dumps({**document, "plugins": plugins}))
    running = RunningApi(folder, admission_control_config_file=str(path))
    yield running
    running.close()


def space(api: Any, name: str, **labels: str) -> str:
    found = {f"pod-security.kubernetes.io/{k.replace('_', '-')}": v for k, v in labels.items()}
    body = {"metadata": {"name": name, "labels": found}}
    assert api.json("POST", "/api/v1/namespaces", body)[0] == 201
    return f"/api/v1/namespaces/{name}"


def pod(name: str = "p", security: Any = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "securityContext": security or {}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def test_baseline_refuses_what_reaches_the_host(api: Any) -> None:
    path = space(api, "baseline", enforce="baseline")
    volume = {"name": "v", "hostPath": {"path": "/"}}
    body = pod("p", {"privileged": True}, hostNetwork=True, volumes=[volume])
    code, answer = api.json("POST", f"{path}/pods", body)
    assert code == 403
    assert answer["message"] == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces '
        '(hostNetwork=true), hostPath volumes (volume "v"), privileged (container "c" must not '
        "set securityContext.privileged=true)"
    )
    assert api.json("POST", f"{path}/pods", pod())[0] == 201


def test_restricted_asks_for_every_precaution(api: Any) -> None:
    path = space(api, "restricted", enforce="restricted")
    code, answer = api.json("POST", f"{path}/pods", pod())
    assert code == 403
    assert answer["message"].partition('latest": ')[2] == (
        'allowPrivilegeEscalation != false (container "c" must set '
        "securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "
        '"c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or '
        'container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or '
        'container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")'
    )
    assert api.json("POST", f"{path}/pods", pod("q", SAFE))[0] == 201


def test_workloads_are_let_in_with_a_warning(api: Any) -> None:
    path = space(api, "warned", enforce="baseline", warn="baseline", warn_version="v1.33")
    labels = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(hostPID=True)["spec"]}
    spec = {"selector": labels, "template": template}
    status, headers, _ = api.raw(
        "POST",
        path.replace("/api/v1", "/apis/apps/v1") + "/deployments",
        json.dumps({"metadata": {"name": "d"}, "spec": spec}).encode(),
        {"Content-Type": "application/json"},
    )
    assert status == 201
    assert 'would violate PodSecurity \\"baseline:v1.33\\": host namespaces' in headers["warning"]


def test_versions_have_the_rules_of_their_time(api: Any) -> None:
    sysctls = {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}
    old = space(api, "old", enforce="baseline", enforce_version="v1.31")
    new = space(api, "new", enforce="baseline", enforce_version="v1.34")
    assert api.json("POST", f"{old}/pods", pod(securityContext=sysctls))[0] == 403
    assert api.json("POST", f"{new}/pods", pod(securityContext=sysctls))[0] == 201
    probed = pod("probed")
    probed["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"port": 1, "host": "10.0.0.1"}}
    assert api.json("POST", f"{old}/pods", probed)[0] == 201
    assert api.json("POST", f"{new}/pods", probed)[0] == 403


def test_labels_must_be_valid_and_tell_of_pods_that_run(api: Any) -> None:
    path = space(api, "changing")
    assert api.json("POST", f"{path}/pods", pod("bad", {"privileged": True}))[0] == 201
    wrong = b'{"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "safe"}}}'
    assert api.raw("PATCH", path, wrong, MERGE)[0] == 422
    right = wrong.replace(b"safe", b"baseline")
    code, headers, _ = api.raw("PATCH", path, right, MERGE)
    assert code == 200
    assert 'existing pods in namespace \\"changing\\" violate the new' in headers["warning"]
    assert '"bad: privileged"' in headers["warning"]


def test_who_is_exempt_is_not_asked(api: Any) -> None:
    path = space(api, "trusted", enforce="restricted")
    assert api.json("POST", f"{path}/pods", pod(hostNetwork=True))[0] == 201


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on PATH")
def test_kubectl_says_what_has_to_change(api: Any) -> None:
    space(api, "strict", enforce="restricted")
    told = api.kubectl("run", "web", "--image=web", "-n", "strict", ok=False)
    assert 'pods "web" is forbidden: violates PodSecurity "restricted:latest"' in told
    told = api.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/warn=none",
                       ok=False)  # fmt: skip
    assert "must be one of privileged, baseline, restricted" in told
