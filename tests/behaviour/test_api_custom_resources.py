"""The real kubectl on custom resources: what an operator's user does every day."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)

pytestmark = pytest.mark.skipif(api_fixture.KUBECTL is None, reason="kubectl is not on PATH")

SCHEMA = yaml.safe_load(r"""
type: object
description: A table of times.
properties:
  spec:
    type: object
    required: [cronSpec]
    properties:
      cronSpec: {type: string, description: When it runs., pattern: '^\S+( \S+){4}$'}
      image: {type: string, default: busybox}
      replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
      extra: {type: object, x-kubernetes-preserve-unknown-fields: true}
      ports:
        type: array
        x-kubernetes-list-type: map
        x-kubernetes-list-map-keys: [name]
        items:
          type: object
          required: [name]
          properties: {name: {type: string}, port: {type: integer}}
  status:
    type: object
    properties: {replicas: {type: integer}, labelSelector: {type: string}}
""")


def definition(kind: str, group: str = "stable.example.com", **version: Any) -> dict[str, Any]:
    plural = kind.lower() + "s"
    first = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "selectableFields": [{"jsonPath": ".spec.image"}],
        "additionalPrinterColumns": [
            {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
            {"name": "Image", "type": "string", "jsonPath": ".spec.image", "priority": 1},
        ],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.labelSelector",
            },
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [kind.lower()[:3]],
                      "categories": ["all"]},
            "versions": [first | version],
        },
    }  # fmt: skip


def established(api: Any, crd: dict[str, Any]) -> None:
    api.kubectl("apply", "-f", "-", stdin=json.dumps(crd))
    name = crd["metadata"]["name"]
    api.kubectl("wait", "--for=condition=established", f"crd/{name}", "--timeout=10s")


def table(name: str, kind: str = "CronTab", **spec: Any) -> str:
    return json.dumps({
        "apiVersion": "stable.example.com/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"cronSpec": "* * * * */5", **spec},
    })  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = api_fixture.RunningApi(tmp_path_factory.mktemp("api"))
    established(running, definition("CronTab"))
    yield running
    running.close()


def test_apply_creates_with_defaults_and_then_leaves_alone(api: Any) -> None:
    assert "created" in api.kubectl("apply", "-f", "-", stdin=table("a"))
    assert "unchanged" in api.kubectl("apply", "-f", "-", stdin=table("a"))
    assert "configured" in api.kubectl("apply", "-f", "-", stdin=table("a", replicas=2))
    found = api.get("crontab", "a")
    assert found["spec"] == {"cronSpec": "* * * * */5", "image": "busybox", "replicas": 2}
    assert found["metadata"]["generation"] == 2


def test_columns_of_the_definition_are_printed_and_wide_ones_only_when_asked_for(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=table("columns"))
    plain, wide = (api.kubectl("get", "cro", "columns", *o) for o in ((), ("-o", "wide")))
    assert plain.splitlines()[0].split() == ["NAME", "SPEC", "REPLICAS"]
    assert wide.splitlines()[0].split() == ["NAME", "SPEC", "REPLICAS", "IMAGE"]
    assert plain.splitlines()[1].split() == ["columns", "*", "*", "*", "*", "*/5", "1"]
    assert "crontab.stable.example.com/columns" in api.kubectl("get", "all", "-o", "name")


def test_describe_shows_the_definition_and_what_is_defined(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=table("shown", replicas=3))
    shown = api.kubectl("describe", "crontab", "shown")
    assert re.search("(?m)^Name: +shown$", shown), shown
    assert re.search("(?m)^ +Replicas: +3$", shown), shown
    defined = api.kubectl("describe", "crd", "crontabs.stable.example.com")
    assert re.search("(?m)^Name: +crontabs.stable.example.com$", defined), defined


def test_a_value_that_the_schema_forbids_is_refused_with_its_path(api: Any) -> None:
    said = api.kubectl("apply", "-f", "-", stdin=table("bad", replicas=11), ok=False)
    assert (
        'The CronTab "bad" is invalid: spec.replicas: Invalid value: 11: spec.replicas in body '
        "should be less than or equal to 10" in said
    )
    said = api.kubectl("apply", "--validate=false", "-f", "-", ok=False,
                       stdin=table("bad", replicas="many"))  # fmt: skip
    assert 'spec.replicas in body must be of type integer: "string"' in said
    twice = [{"name": "x", "port": 1}, {"name": "x", "port": 2}]
    said = api.kubectl("apply", "-f", "-", stdin=table("bad", ports=twice), ok=False)
    assert 'spec.ports[1]: Duplicate value: {"name":"x"}' in said


def test_unknown_fields_are_refused_or_pruned_but_kept_where_the_schema_says(api: Any) -> None:
    said = api.kubectl("apply", "-f", "-", stdin=table("unknown", foo=1), ok=False)
    assert 'unknown field "spec.foo"' in said
    body = table("unknown", foo=1, extra={"any": {"thing": [1]}})
    api.kubectl("apply", "--validate=false", "-f", "-", stdin=body)
    spec = api.get("crontab", "unknown")["spec"]
    assert "foo" not in spec
    assert spec["extra"] == {"any": {"thing": [1]}}


def test_explain_knows_the_fields_of_the_schema(api: Any) -> None:
    assert "When it runs." in api.kubectl("explain", "crontab.spec.cronSpec")
    assert "-required-" in api.kubectl("explain", "crontab.spec")
    assert "A table of times." in api.kubectl("explain", "crontab")
    assert "ObjectMeta" in api.kubectl("explain", "crontab")


def test_scale_patch_label_and_edit_through_the_usual_commands(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=table("changed"))
    api.kubectl("scale", "crontab/changed", "--replicas=3")
    api.kubectl("patch", "crontab", "changed", "--type=merge", "-p", '{"spec":{"image":"x"}}')
    operation = '[{"op":"add","path":"/spec/extra","value":{"a":1}}]'
    api.kubectl("patch", "crontab", "changed", "--type=json", "-p", operation)
    api.kubectl("label", "crontab", "changed", "a=b")
    found = api.get("crontab", "changed")
    assert found["spec"]["replicas"] == 3
    assert found["spec"]["image"] == "x"
    assert found["spec"]["extra"] == {"a": 1}
    assert found["metadata"]["generation"] == 4
    said = api.kubectl("patch", "crontab", "changed", "-p", "{}", ok=False)
    assert "415" in said or "UnsupportedMediaType" in said or "unknown format" in said


def test_selectable_fields_of_the_definition_select(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=table("picked", image="rare"))
    assert api.kubectl("get", "crontab", "--field-selector=spec.image=rare", "-o", "name") == (
        "crontab.stable.example.com/picked\n"
    )
    said = api.kubectl("get", "crontab", "--field-selector=spec.replicas=1", ok=False)
    assert "field label not supported: spec.replicas" in said


def test_status_is_written_apart_and_changes_nothing_else(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=table("status"))
    path = "/apis/stable.example.com/v1/namespaces/default/crontabs/status"
    patch = {"spec": {"image": "no"}, "metadata": {"labels": {"no": "no"}},
             "status": {"replicas": 2, "labelSelector": "a=b"}}  # fmt: skip
    code, found = api.json("PATCH", f"{path}/status", patch,
                           Content_Type="application/merge-patch+json")  # fmt: skip
    assert code == 200
    assert found["status"] == {"replicas": 2, "labelSelector": "a=b"}
    assert found["spec"]["image"] == "busybox"
    assert "labels" not in found["metadata"]
    assert found["metadata"]["generation"] == 1
    code, scale = api.json("GET", f"{path}/scale")
    assert scale["status"] == {"replicas": 2, "selector": "a=b"}
    code, found = api.json("PATCH", path, {"status": {"replicas": 9}},
                           Content_Type="application/merge-patch+json")  # fmt: skip
    assert found["status"]["replicas"] == 2


def test_names_that_another_definition_has_are_not_accepted_until_it_is_gone(api: Any) -> None:
    established(api, definition("Taker"))
    other = definition("Tamer")
    other["spec"]["names"]["shortNames"] = ["tak"]
    api.kubectl("apply", "-f", "-", stdin=json.dumps(other))
    api.kubectl("wait", "--for=condition=namesaccepted=false", "crd/tamers.stable.example.com",
                "--timeout=10s")  # fmt: skip
    conditions = api.get("crd", "tamers.stable.example.com")["status"]["conditions"]
    by_type = {c["type"]: c for c in conditions}
    assert by_type["NamesAccepted"]["reason"] == "ShortNamesConflict"
    assert by_type["NamesAccepted"]["message"] == '"tak" is already in use'
    assert by_type["Established"]["reason"] == "NotAccepted"
    api.kubectl("delete", "crd", "takers.stable.example.com")
    api.kubectl("wait", "--for=condition=established", "crd/tamers.stable.example.com",
                "--timeout=10s")  # fmt: skip


def test_a_schema_that_is_not_structural_is_refused(api: Any) -> None:
    schema = {"type": "object", "properties": {"spec": {"properties": {"a": {"type": "string"}}}}}
    bad = definition("Flat", schema={"openAPIV3Schema": schema})
    said = api.kubectl("apply", "-f", "-", stdin=json.dumps(bad), ok=False)
    assert (
        "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty "
        "for specified object fields" in said
    )


def test_several_versions_show_one_object_and_only_those_served(api: Any) -> None:
    crd = definition("Many")
    old = dict(crd["spec"]["versions"][0], name="v1beta1", storage=False, deprecated=True)
    crd["spec"]["versions"] += [old, dict(old, name="v1alpha1", served=False, deprecated=False)]
    established(api, crd)
    api.kubectl("apply", "-f", "-", stdin=table("one", "Many"))
    older = api.json("GET", "/apis/stable.example.com/v1beta1/namespaces/default/manys/one")[1]
    assert older["apiVersion"] == "stable.example.com/v1beta1"
    assert older["spec"]["image"] == "busybox"
    said = api.raw("GET", "/apis/stable.example.com/v1beta1/manys")[1]
    assert said["warning"] == '299 - "stable.example.com/v1beta1 Many is deprecated"'
    assert api.json("GET", "/apis/stable.example.com/v1alpha1/manys")[0] == 404
    group = api.json("GET", "/apis/stable.example.com")[1]
    assert [v["version"] for v in group["versions"]] == ["v1", "v1beta1"]


def test_deleting_a_definition_deletes_its_objects_and_ends_its_watches(api: Any) -> None:
    established(api, definition("Doomed"))
    for name in ("x", "y"):
        api.kubectl("apply", "-f", "-", stdin=table(name, "Doomed"))
    api.kubectl("delete", "crd", "doomeds.stable.example.com", "--timeout=20s")
    assert api.json("GET", "/apis/stable.example.com/v1/doomeds")[0] == 404
    assert "doomeds" not in api.kubectl("api-resources", "-o", "name")
    established(api, definition("Doomed"))
    assert api.get("doomed")["items"] == []


def test_a_changed_schema_holds_for_what_is_written_next(api: Any) -> None:
    crd = definition("Grown")
    established(api, crd)
    api.kubectl("apply", "-f", "-", stdin=table("g", "Grown"))
    grown = json.loads(json.dumps(SCHEMA))
    grown["properties"]["spec"]["properties"]["colour"] = {"type": "string", "default": "red"}
    changed = definition("Grown", schema={"openAPIV3Schema": grown})
    api.kubectl("apply", "-f", "-", stdin=json.dumps(changed))
    assert api.get("grown", "g")["spec"]["colour"] == "red"  # a default, read from the old object
    assert "colour" in api.kubectl("explain", "grown.spec")


def test_kubectl_watches_custom_resources(api: Any) -> None:
    api.kubectl("apply", "-f", "-", stdin=table("watched"))
    version = api.get("crontab", "watched")["metadata"]["resourceVersion"]
    api.kubectl("scale", "crontab/watched", "--replicas=4")
    api.kubectl("delete", "crontab", "watched")
    path = (
        f"/apis/stable.example.com/v1/crontabs?watch=1&resourceVersion={version}&timeoutSeconds=1"
    )
    lines = api.raw("GET", path)[2].splitlines()
    events = [json.loads(line) for line in lines]
    assert [(e["type"], e["object"]["spec"]["replicas"]) for e in events] == [
        ("MODIFIED", 4),
        ("DELETED", 4),
    ]


RULED = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "min": {"type": "integer"},
                "max": {"type": "integer"},
                "name": {"type": "string", "maxLength": 20,
                         "x-kubernetes-validations": [{"rule": "self == oldSelf",
                                                       "message": "name is immutable"}]},
            },
            "x-kubernetes-validations": [
                {"rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
                 "messageExpression": "'min %d is above max %d'.format([self.min, self.max])",
                 "fieldPath": ".min"}
            ],
        }
    },
}  # fmt: skip


def ruled(object_name: str, **spec: Any) -> str:
    return json.dumps({"apiVersion": "stable.example.com/v1", "kind": "Ruled",
                       "metadata": {"name": object_name}, "spec": spec})  # fmt: skip


def test_rules_of_the_schema_are_enforced_with_their_messages(api: Any) -> None:
    version = {"schema": {"openAPIV3Schema": RULED}, "subresources": {}, "selectableFields": []}
    established(api, definition("Ruled", additionalPrinterColumns=[], **version))
    api.kubectl("apply", "-f", "-", stdin=ruled("r", min=1, max=2, name="a"))
    said = api.kubectl("apply", "-f", "-", stdin=ruled("r", min=3, max=2, name="a"), ok=False)
    assert 'The Ruled "r" is invalid: spec.min: Invalid value: min 3 is above max 2' in said
    said = api.kubectl("apply", "-f", "-", stdin=ruled("r", min=1, max=2, name="b"), ok=False)
    assert 'spec.name: Invalid value: "b": name is immutable' in said


def test_a_definition_with_a_rule_that_does_not_compile_is_refused(api: Any) -> None:
    bad = json.loads(json.dumps(RULED))
    bad["properties"]["spec"]["x-kubernetes-validations"][0] = {"rule": "self.mni < 1"}
    crd = definition("Broken", schema={"openAPIV3Schema": bad}, selectableFields=[])
    said = api.kubectl("apply", "-f", "-", stdin=json.dumps(crd), ok=False)
    assert "compilation failed: ERROR: <input>:1:5: undefined field 'mni'" in said
