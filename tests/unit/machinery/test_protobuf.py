"""Protobuf: request bodies captured from kubectl 1.32.5, round trips and malformed input."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.machinery import schema
from cluster.machinery.codec import plans, protobuf, wire
from cluster.machinery.errors import BadRequest

VECTORS = Path(__file__).parent / "vectors"

DECODED: dict[str, dict[str, Any]] = {
    "pb_configmaps_POST": {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c1"}, "data": {"a": "b"},
    },
    "pb_pods_DELETE": {"apiVersion": "v1", "kind": "DeleteOptions"},
    "pb_secrets_POST": {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="},
    },
    "pb_selfsubjectaccessreviews_POST": {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": {"namespace": "default", "verb": "get",
                                        "resource": "pods"}},
        "status": {"allowed": False},
    },
    "pb_selfsubjectreviews_POST": {
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
        "metadata": {}, "status": {"userInfo": {}},
    },
    "pb_serviceaccounts_token_POST": {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "metadata": {}, "spec": {}, "status": {},
    },
}  # fmt: skip

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "p", "namespace": "n", "labels": {"a": "b", "c": ""}, "finalizers": ["x/y", "z/z"],
        "creationTimestamp": "2026-01-02T03:04:05Z", "deletionGracePeriodSeconds": 0,
        "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "o", "uid": "u",
                             "controller": False}],
        "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {".": {}}}}],
    },
    "spec": {
        "containers": [{
            "name": "c", "image": "i", "command": ["a", "b"],
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {
                "name": "m", "key": "k", "optional": False}}}],
            "envFrom": [{"secretRef": {"name": "s"}}],
            "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 3},
            "readinessProbe": {"tcpSocket": {"port": 80}},
            "securityContext": {"runAsUser": 0, "privileged": False},
        }],
        "ephemeralContainers": [{"name": "d", "image": "i", "targetContainerName": "c"}],
        "volumes": [{"name": "v", "configMap": {"name": "m", "defaultMode": 420}},
                    {"name": "e", "emptyDir": {}}],
        "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 0}],
        "nodeSelector": {"disk": "ssd"},
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "activeDeadlineSeconds": -5,
        "securityContext": {"supplementalGroups": [1, 2]},
    },
    "status": {"phase": "Running"},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(DECODED))
def test_what_kubectl_sends_is_understood(name: str) -> None:
    assert protobuf.decode((VECTORS / f"{name}.bin").read_bytes()) == DECODED[name]


@pytest.mark.parametrize(
    "obj",
    [
        POD,
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
         "spec": {"renewTime": "2026-01-02T03:04:05.000007Z", "leaseDurationSeconds": 0}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
         "spec": {"replicas": 0, "selector": {}, "strategy": {"rollingUpdate": {
             "maxSurge": "25%", "maxUnavailable": 1}}, "template": {"metadata": {}, "spec": {
                 "containers": [{"name": "c"}]}}}},
        {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "5"},
         "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]},
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "p"},
         "spec": {"capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x", "type": ""}}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"},
         "spec": {"rules": [{"host": "h", "http": {"paths": [{"path": "/", "pathType": "Exact",
             "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
         "metadata": {"name": "w"}, "webhooks": [{"name": "w", "clientConfig": {"caBundle": "YQ=="},
             "rules": [{"operations": ["CREATE"], "apiGroups": [""], "resources": ["pods"]}]}]},
        {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
         "metadata": {"name": "c"}, "spec": {"request": "YWJj", "signerName": "s",
                                             "extra": {"k": ["a", "b"]}}},
        {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "r"},
         "data": {"spec": {"a": [1, None]}}, "revision": 3},
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
         "metadata": {"name": "c"}, "spec": {"group": "g", "scope": "Cluster", "names": {
             "plural": "cs", "kind": "C"}, "versions": [{"name": "v1", "served": True,
             "storage": False, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"x": {"type": "array", "items": {"type": "string"},
                    "x-kubernetes-list-type": "set", "default": [1], "minimum": 0.5},
                    "y": {"additionalProperties": True}, "z": {"$ref": "#/z",
                    "additionalProperties": {"type": "string"},
                    "x-kubernetes-preserve-unknown-fields": True}}}}}]}},
    ],
)  # fmt: skip
def test_an_object_survives_a_round_trip(obj: dict[str, Any]) -> None:
    assert protobuf.decode(protobuf.encode(obj)) == obj


def test_explicit_zeros_of_pointers_survive_and_zeros_of_plain_fields_do_not() -> None:
    probe = {"initialDelaySeconds": 0, "terminationGracePeriodSeconds": 0}
    data = protobuf.encode_message(probe, "k8s.io.api.core.v1.Probe")
    decoded = protobuf.decode_message(data, "k8s.io.api.core.v1.Probe")
    assert decoded == {"terminationGracePeriodSeconds": 0}


def test_packed_numbers_are_read_like_plain_ones() -> None:
    slot = next(
        s for s in plans.plan("k8s.io.api.core.v1.PodSecurityContext").slots.values()
        if s.name == "supplementalGroups"
    )  # fmt: skip
    packed = wire.delimited(slot.number, wire.varint(5) + wire.varint(300))
    assert protobuf.decode_message(packed, "k8s.io.api.core.v1.PodSecurityContext") == {
        "supplementalGroups": [5, 300]
    }


def test_every_type_has_a_plan() -> None:
    for name in schema.all_types():
        for slot in plans.plan(name).slots.values():
            leaf = protobuf.map_element(slot.wire)
            known = leaf in plans.SCALARS or leaf in plans.SPECIAL or schema.find(leaf)
            assert known or (slot.inline and schema.message(leaf)), (name, slot)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"k8s\x00", b"k8s\x00\x0a", b"k8s\x00\x0a\xff\xff\xff\xff\x0f",
     protobuf.MAGIC + b"\x0a\x0b\x0a\x02v1\x12\x05Thing", b"k8s\x00" + b"\xff" * 20],
)  # fmt: skip
def test_a_malformed_body_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        protobuf.decode(body)


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        decoded = protobuf.decode_message(data, "k8s.io.api.core.v1.Pod")
    except BadRequest:
        return
    assert isinstance(decoded, dict)


@given(st.data())
def test_a_damaged_pod_decodes_or_is_refused(data: st.DataObject) -> None:
    body = bytearray(protobuf.encode(POD))
    at = data.draw(st.integers(4, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    try:
        protobuf.decode(bytes(body))
    except BadRequest:
        return
