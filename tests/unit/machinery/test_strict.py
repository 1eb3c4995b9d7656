"""Unknown fields, duplicate keys, wrong JSON types."""

import json
from typing import Any

import pytest

from cluster.machinery import strict
from cluster.machinery.errors import BadRequest

POD = "k8s.io.api.core.v1.Pod"
DEPLOYMENT = "k8s.io.api.apps.v1.Deployment"


def test_unknown_fields_are_named_with_their_paths() -> None:
    pod = {"spec": {"containers": [{"name": "a"}, {"nmae": "b", "env": [{"x": 1}]}], "foo": {}}}
    assert strict.check(pod, POD) == [
        'unknown field "spec.foo"',
        'unknown field "spec.containers[1].nmae"',
        'unknown field "spec.containers[1].env[0].x"',
    ]


def test_pruning_drops_exactly_the_unknown_fields() -> None:
    pod = {"apiVersion": "v1", "x": 1, "metadata": {"labels": {"any": "thing"}, "y": 2},
           "spec": {"containers": [{"name": "a", "z": 3}]}}  # fmt: skip
    strict.prune(pod, POD)
    assert pod == {"apiVersion": "v1", "metadata": {"labels": {"any": "thing"}},
                   "spec": {"containers": [{"name": "a"}]}}  # fmt: skip


def test_content_that_is_anybodys_is_left_alone() -> None:
    revision = {"data": {"any": {"thing": 1}}, "revision": 1}
    assert strict.check(revision, "k8s.io.api.apps.v1.ControllerRevision") == []


def test_types_that_contain_themselves_are_checked_at_every_depth() -> None:
    props = {"properties": {"a": {"properties": {"b": {"typ": "x"}}}}}
    name = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    assert strict.check(props, name) == ['unknown field "properties.a.properties.b.typ"']


def test_duplicate_keys_are_named_with_their_paths() -> None:
    body = b'{"a": 1, "a": 2, "b": {"c": 1, "c": 1}, "d": [{"e": 1, "e": 2}], "f": {}}'
    assert strict.duplicate_fields(body) == [
        'duplicate field "a"', 'duplicate field "b.c"', 'duplicate field "d[0].e"',
    ]  # fmt: skip
    assert strict.duplicate_fields(b'{"a": [1, 1]}') == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a" : 2}',
        b'{"a": {"b": 1, "b"\n:2}, "c": "\\":"}',
        b'{"a": [{"b": ":", "b": "x"}]}',
        b'{"a\\"": 1, "a\\"": 2}',
    ],
)
def test_duplicates_are_found_beside_what_the_text_was_decoded_to(body: bytes) -> None:
    found = strict.duplicate_fields(body)
    assert len(found) == 1
    assert strict.duplicate_fields(body, json.loads(body)) == found


def test_strings_that_look_like_keys_are_no_duplicates() -> None:
    body = rb'{"a": "\"b\": 1", "b\":": {"c": "x\" :y"}}'
    assert strict.duplicate_fields(body, json.loads(body)) == []


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000])
def test_duplicates_of_what_is_no_json_are_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        strict.duplicate_fields(body)


@pytest.mark.parametrize(
    ("type_name", "obj", "message"),
    [
        (DEPLOYMENT, {"spec": {"replicas": "3"}}, "json: cannot unmarshal string into "
         "Go struct field DeploymentSpec.spec.replicas of type int32"),
        (DEPLOYMENT, {"spec": {"replicas": 1.5}}, "json: cannot unmarshal number 1.5 into "
         "Go struct field DeploymentSpec.spec.replicas of type int32"),
        (DEPLOYMENT, {"spec": {"replicas": 2**31}}, "json: cannot unmarshal number 2147483648 "
         "into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (POD, {"spec": {"containers": {"name": "a"}}}, "json: cannot unmarshal object into "
         "Go struct field PodSpec.spec.containers of type []v1.Container"),
        (POD, {"spec": {"containers": [{"image": 5}]}}, "json: cannot unmarshal number into "
         "Go struct field Container.spec.containers.image of type string"),
        (POD, {"metadata": {"labels": {"a": 1}}}, "json: cannot unmarshal number into "
         "Go struct field ObjectMeta.metadata.labels of type string"),
        (POD, {"spec": "x"}, "json: cannot unmarshal string into "
         "Go struct field Pod.spec of type v1.PodSpec"),
        (POD, {"spec": {"hostNetwork": "yes"}}, "json: cannot unmarshal string into "
         "Go struct field PodSpec.spec.hostNetwork of type bool"),
        (POD, {"metadata": {"creationTimestamp": "now"}},
         'parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006"'),
        (POD, {"spec": {"containers": [{"resources": {"limits": {"cpu": "1x"}}}]}},
         "unable to parse quantity's suffix"),
        ("k8s.io.api.core.v1.Secret", {"data": {"a": "?"}}, "illegal base64 data at input byte 0"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_told_as_go_tells_it(
    type_name: str, obj: dict[str, Any], message: str
) -> None:
    assert strict.check_types(obj, type_name) == [message]


def test_values_of_the_right_types_pass() -> None:
    pod = {"metadata": {"creationTimestamp": None, "labels": None},
           "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 1}},
                    "livenessProbe": {"httpGet": {"port": "web"}}}]}}  # fmt: skip
    assert strict.check_types(pod, POD) == []


def test_nulls_are_resolved_as_in_go() -> None:
    pod = {"metadata": {"creationTimestamp": None, "labels": {"a": None}, "finalizers": [None]},
           "spec": {"containers": [None, {"name": "a", "command": None}], "volumes": None,
                    "containers2": None}}  # fmt: skip
    strict.prune(pod, POD)
    assert pod == {"metadata": {"labels": {"a": ""}, "finalizers": [""]},
                   "spec": {"containers": [{}, {"name": "a"}]}}  # fmt: skip


def test_nulls_in_content_that_is_anybodys_stay() -> None:
    revision: dict[str, Any] = {"data": {"a": None}, "revision": 1, "metadata": None}
    strict.prune(revision, "k8s.io.api.apps.v1.ControllerRevision")
    assert revision == {"data": {"a": None}, "revision": 1}
