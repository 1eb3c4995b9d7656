"""LimitRanger, default classes, RuntimeClass, growing claims, certificate requests."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from api_fixture import RunningApi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

STORAGE = "/apis/storage.k8s.io/v1/storageclasses"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


@pytest.fixture
def space(api: Any, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("_", "-")[:50].strip("-")
    assert api.json("POST", "/api/v1/namespaces", {"metadata": {"name": name}})[0] == 201
    return f"/api/v1/namespaces/{name}"


def limit(api: Any, space: str, **item: Any) -> None:
    body = {"metadata": {"name": "limits"}, "spec": {"limits": [item]}}
    assert api.json("POST", f"{space}/limitranges", body)[0] == 201


def pod(**resources: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": resources}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container]}}


def test_what_a_container_does_not_say_is_filled_in_and_told(api: Any, space: str) -> None:
    limit(api, space, type="Container", default={"cpu": "2", "memory": "1Gi"},
          defaultRequest={"cpu": "1"})  # fmt: skip
    code, made = api.json("POST", f"{space}/pods", pod(requests={"cpu": "500m"}))
    assert code == 201
    assert made["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "1Gi"},
    }
    told = made["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
    assert told == (
        "LimitRanger plugin set: memory request for container c; cpu, memory limit for container c"
    )


def test_containers_out_of_bounds_are_refused_with_every_reason(api: Any, space: str) -> None:
    limit(api, space, type="Container", min={"cpu": "100m"}, max={"memory": "1Gi"},
          maxLimitRequestRatio={"cpu": "2"})  # fmt: skip
    body = pod(requests={"cpu": "50m"}, limits={"cpu": "1", "memory": "2Gi"})
    code, answer = api.json("POST", f"{space}/pods", body)
    assert code == 403
    assert answer["message"] == (
        'pods "p" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, '
        "maximum memory usage per Container is 1Gi, but limit is 2Gi, cpu max limit to request "
        "ratio per Container is 2, but provided ratio is 20.000000]"
    )


def test_pods_and_claims_have_bounds_of_their_own(api: Any, space: str) -> None:
    limit(api, space, type="Pod", max={"cpu": "1"})
    code, answer = api.json("POST", f"{space}/pods", pod(limits={"cpu": "1500m"}))
    assert "maximum cpu usage per Pod is 1, but limit is 1500m" in answer["message"]
    body = {"metadata": {"name": "claims"}, "spec": {"limits": [
        {"type": "PersistentVolumeClaim", "min": {"storage": "2Gi"}}]}}  # fmt: skip
    api.json("POST", f"{space}/limitranges", body)
    code, answer = api.json("POST", f"{space}/persistentvolumeclaims", claim("1Gi"))
    assert code == 403
    assert "minimum storage usage per PersistentVolumeClaim is 2Gi" in answer["message"]


def claim(size: str, name: str = "c", **spec: Any) -> dict[str, Any]:
    spec |= {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": name}, "spec": spec}


def test_claims_get_the_default_class_and_grow_if_it_lets_them(api: Any) -> None:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    body = {"metadata": {"name": "usual", "annotations": annotations}, "provisioner": "p"}
    assert api.json("POST", STORAGE, body)[0] == 201
    _, made = api.json("POST", CLAIMS, claim("1Gi"))
    assert made["spec"]["storageClassName"] == "usual"
    _, none = api.json("POST", CLAIMS, claim("1Gi", "d", storageClassName=""))
    assert none["spec"]["storageClassName"] == ""
    made["status"] = {"phase": "Bound"}
    _, made = api.json("PUT", f"{CLAIMS}/c/status", made)
    made["spec"]["resources"]["requests"]["storage"] = "2Gi"
    code, answer = api.json("PUT", f"{CLAIMS}/c", made)
    assert code == 403, answer
    assert "must support resize" in answer["message"]
    grow = b'{"allowVolumeExpansion": true}'
    merge = {"Content-Type": "application/merge-patch+json"}
    assert api.raw("PATCH", f"{STORAGE}/usual", grow, merge)[0] == 200
    code, answer = api.json("PUT", f"{CLAIMS}/c", made)
    assert code == 200, answer


def test_ingresses_get_the_default_class(api: Any) -> None:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
    body = {"metadata": {"name": "front", "annotations": annotations},
            "spec": {"controller": "example.com/c"}}  # fmt: skip
    assert api.json("POST", "/apis/networking.k8s.io/v1/ingressclasses", body)[0] == 201
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    body = {"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}}
    code, made = api.json("POST", "/apis/networking.k8s.io/v1/namespaces/default/ingresses", body)
    assert code == 201
    assert made["spec"]["ingressClassName"] == "front"


def test_a_runtime_class_says_what_its_pods_cost_and_where_they_run(api: Any, space: str) -> None:
    scheduling = {"nodeSelector": {"sandbox": "yes"}, "tolerations": [{"key": "sandbox"}]}
    body = {"metadata": {"name": "kata"}, "handler": "kata", "scheduling": scheduling,
            "overhead": {"podFixed": {"memory": "64Mi"}}}  # fmt: skip
    assert api.json("POST", "/apis/node.k8s.io/v1/runtimeclasses", body)[0] == 201
    wanted = pod()
    wanted["spec"]["runtimeClassName"] = "kata"
    code, made = api.json("POST", f"{space}/pods", wanted)
    assert code == 201, made
    assert made["spec"]["overhead"] == {"memory": "64Mi"}
    assert made["spec"]["nodeSelector"] == {"sandbox": "yes"}
    assert "sandbox" in [t["key"] for t in made["spec"]["tolerations"]]
    wanted["spec"]["runtimeClassName"] = "ghost"
    code, answer = api.json("POST", f"{space}/pods", wanted)
    assert code == 403
    assert 'RuntimeClass "ghost" not found' in answer["message"]


def request_for(group: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, group),
                      x509.NameAttribute(NameOID.COMMON_NAME, "me")])  # fmt: skip
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()


def test_nobody_becomes_an_administrator_by_a_certificate_request(api: Any) -> None:
    spec = {"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}
    body = {"metadata": {"name": "r"}, "spec": {**spec, "request": request_for("system:masters")}}
    code, answer = api.json("POST", REQUESTS, body)
    assert code == 403
    assert "signer with system:masters group is not allowed" in answer["message"]
    body["spec"] = {**spec, "request": request_for("developers")}
    assert api.json("POST", REQUESTS, body)[0] == 201
    plural = "certificatesigningrequests"
    rule = {
        "apiGroups": ["certificates.k8s.io"],
        "verbs": ["get", "update"],
        "resources": [plural, f"{plural}/approval"],
    }
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    role = {"metadata": {"name": "approver"}, "rules": [rule]}
    assert api.json("POST", f"{rbac}/clusterroles", role)[0] == 201
    binding = {"metadata": {"name": "approver"},
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                           "name": "approver"},
               "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User",
                             "name": "eve"}]}  # fmt: skip
    assert api.json("POST", f"{rbac}/clusterrolebindings", binding)[0] == 201
    config = api.kubeconfig_for("eve")
    told = api.kubectl("certificate", "approve", "r", ok=False, kubeconfig=config)
    assert "user not permitted to approve requests with signerName" in told
    api.kubectl("certificate", "approve", "r")


def test_claims_and_volumes_are_protected_from_the_start(api: Any, space: str) -> None:
    _, made = api.json("POST", f"{space}/persistentvolumeclaims", claim("1Gi"))
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/tmp"}}  # fmt: skip
    body = {"metadata": {"name": "v", "finalizers": ["kubernetes.io/pv-protection"]}, "spec": spec}
    code, made = api.json("POST", "/api/v1/persistentvolumes", body)
    assert code == 201, made
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
