"""Structural schemas: which are refused, and what they make of objects."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.machinery.customresources.kind import CustomKind
from cluster.machinery.structural import (
    default_values,
    defaulting,
    formats,
    parse,
    pruning,
    rules,
    values,
)
from cluster.machinery.structural.embedded import validate_embedded
from cluster.machinery.validation.field import Errors

INT, TEXT = {"type": "integer"}, {"type": "string"}
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def root(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def refused(schema: Any) -> list[str]:
    errors = Errors()
    rules.check(schema, "s", errors)
    return [str(error) for error in errors]


def wrong(schema: Any, value: Any, old: Any = values.ABSENT) -> list[tuple[str, str, str]]:
    assert refused(root(x=schema)) == []
    errors = Errors()
    before = old if old is values.ABSENT else {"x": old}
    values.validate({"x": value}, parse(root(x=schema)), errors, before)
    return [(e.field, e.reason.removeprefix("FieldValue"), e.message) for e in errors]


MAP_LIST = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
    "items": {"type": "object", "required": ["k"], "properties": {"k": TEXT, "v": INT}},
}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({}, "s.type: Required value: must not be empty at the root"),
        ({"type": "string"}, 's.type: Invalid value: "string": must be object at the root'),
        (root(a={}), "s.properties[a].type: Required value: must not be empty for specified object "
         "fields"),
        (root(a={"type": "array", "items": {}}), "s.properties[a].items.type: Required value: must "
         "not be empty for specified array items"),
        (root(a={"type": "array"}), "s.properties[a].items: Required value: must be specified"),
        (root(a={"type": "null"}), "s.properties[a].type: Forbidden: type cannot be set to null, "
         "use nullable as an alternative"),
        (root(a={"type": "text"}), 's.properties[a].type: Unsupported value: "text": supported '
         'values: "array", "boolean", "integer", "number", "object", "string"'),
        (root(a=TEXT | {"uniqueItems": True}), "s.properties[a].uniqueItems: Forbidden: "
         "uniqueItems "
         "cannot be set to true since the runtime complexity becomes quadratic"),
        (root(a={"type": "object", "additionalProperties": False}), "s.properties[a]."
         "additionalProperties: Forbidden: additionalProperties cannot be set to false"),
        (root(a={"type": "object", "properties": {"b": TEXT}, "additionalProperties": TEXT}),
         "s.properties[a].additionalProperties: Forbidden: additionalProperties and properties are "
         "mutual exclusive"),
        (root(a=TEXT | {"$ref": "#/x"}), "s.properties[a].$ref: Forbidden: $ref is not supported"),
        (root(a=TEXT | {"pattern": "("}), 's.properties[a].pattern: Invalid value: "(": must be a '
         "valid regular expression, but isn't: error parsing regexp: missing ): ("),
        (root(a=INT | {"anyOf": [{"type": "integer"}]}), "s.properties[a].anyOf[0].type: "
         "Forbidden: "
         "must be empty to be structural"),
        (root(a={"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}),
         "s.properties[a].properties[b]: Required value: because it is defined in "
         "s.properties[a].anyOf[0].properties[b]"),
        (root(a=TEXT | {"x-kubernetes-int-or-string": True}), 's.properties[a].type: Invalid '
         'value: '
         '"string": must be empty if x-kubernetes-int-or-string is true'),
        (root(a={"type": "object", "x-kubernetes-embedded-resource": True}), "s.properties[a]."
         "properties: Required value: must not be empty if x-kubernetes-embedded-resource is true "
         "without x-kubernetes-preserve-unknown-fields"),
        (root(metadata={"type": "object", "properties": {"labels": ANY}}),
         "s.properties[metadata]: "
         "Forbidden: must not specify anything other than name and generateName, but metadata is "
         "implicitly specified"),
        (root(a=TEXT | {"x-kubernetes-list-type": "set"}), "s.properties[a].type: Invalid value: "
         '"string": must be array if x-kubernetes-list-type is specified'),
        (root(a={"type": "array", "items": TEXT, "x-kubernetes-list-type": "map"}),
         "s.properties[a].items.type: Invalid value: \"string\": must be object if parent array's "
         "x-kubernetes-list-type is map"),
        (root(a=MAP_LIST | {"items": {"type": "object", "properties": {"k": TEXT}}}),
         "s.properties[a].items.properties[k].default: Required value: this property is in "
         "x-kubernetes-list-map-keys, so it must have a default or be a required property"),
    ],
)  # fmt: skip
def test_a_schema_that_is_not_structural_is_refused(schema: Any, said: str) -> None:
    assert said in refused(schema)


@pytest.mark.parametrize(
    "schema",
    [
        root(a={"x-kubernetes-int-or-string": True,
                "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^x"}),
        root(a={"x-kubernetes-preserve-unknown-fields": True}),
        root(a=ANY | {"x-kubernetes-embedded-resource": True}),
        root(a=MAP_LIST),
        root(metadata={"type": "object", "properties": {"name": TEXT | {"maxLength": 9}}}),
        root(a={"type": "object", "properties": {"b": INT},
                "oneOf": [{"required": ["b"]}, {"properties": {"b": {"minimum": 3}}}]}),
        ANY,
    ],
)  # fmt: skip
def test_a_structural_schema_is_accepted(schema: Any) -> None:
    assert refused(schema) == []


@pytest.mark.parametrize(
    ("schema", "value", "found"),
    [
        (INT, "a", ("x", "TypeInvalid", 'Invalid value: "a": x in body must be of type integer: '
                    '"string"')),
        (TEXT, None, ("x", "TypeInvalid", 'Invalid value: null: x in body must be of type string: '
                      '"null"')),
        (INT, True, ("x", "TypeInvalid", 'Invalid value: true: x in body must be of type integer: '
                     '"boolean"')),
        (INT, 1.5, ("x", "TypeInvalid", 'Invalid value: 1.5: x in body must be of type integer: '
                    '"number"')),
        (INT | {"minimum": 2}, 1, ("x", "Invalid", "Invalid value: 1: x in body should be greater "
                                   "than or equal to 2")),
        (INT | {"maximum": 2, "exclusiveMaximum": True}, 2, (
            "x", "Invalid", "Invalid value: 2: x in body should be less than 2")),
        (INT | {"multipleOf": 3}, 4, ("x", "Invalid", "Invalid value: 4: x in body should be a "
                                      "multiple of 3")),
        (INT | {"format": "int32"}, 2**31, (
            "x", "Invalid", "Invalid value: 2147483648: x in body must be of type int32: "
            "2147483648")),
        (TEXT | {"minLength": 2}, "é", ("x", "Invalid", 'Invalid value: "é": x in body should be '
         'at '
                                        "least 2 chars long")),
        (TEXT | {"maxLength": 2}, "abc", ("x", "TooLong", "Too long: may not be more than 2 "
                                           "bytes")),
        (TEXT | {"pattern": "^a+$"}, "b", ("x", "Invalid", "Invalid value: \"b\": x in body should "
                                           "match '^a+$'")),
        (TEXT | {"enum": ["a", "b"]}, "c", ("x", "NotSupported", 'Unsupported value: "c": '
         'supported '
                                            'values: "a", "b"')),
        (TEXT | {"format": "date-time"}, "now", ("x", "Invalid", 'Invalid value: "now": x in body '
                                                 'must be of type date-time: "now"')),
        ({"type": "array", "items": INT, "maxItems": 1}, [1, 2], (
            "x", "TooMany", "Too many: 2: must have at most 1 items")),
        ({"type": "array", "items": INT, "minItems": 1}, [], (
            "x", "Invalid", "Invalid value: 0: x in body should have at least 1 items")),
        ({"type": "array", "items": INT}, [1, "a"], (
            "x[1]", "TypeInvalid", 'Invalid value: "a": x[1] in body must be of type integer: '
            '"string"')),
        ({"type": "object", "required": ["a"], "properties": {"a": INT}}, {}, (
            "x.a", "Required", "Required value")),
        ({"type": "object", "additionalProperties": INT}, {"k": "v"}, (
            "x.k", "TypeInvalid", 'Invalid value: "v": x.k in body must be of type integer: '
            '"string"')),
        ({"type": "object", "additionalProperties": INT, "maxProperties": 1}, {"a": 1, "b": 2}, (
            "x", "TooMany", "Too many: 2: must have at most 1 items")),
        ({"x-kubernetes-int-or-string": True}, 1.5, (
            "x", "TypeInvalid", "Invalid value: 1.5: x in body must be of type integer,string: "
            '"number"')),
        (INT | {"not": {"enum": [5]}}, 5, ("x", "Invalid", 'Invalid value: 5: "x" must not '
         'validate '
                                           "the schema (not)")),
        (INT | {"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 3, (
            "x", "Invalid", 'Invalid value: 3: "x" must validate one and only one schema (oneOf). '
            "Found 2 valid alternatives")),
        (INT | {"anyOf": [{"minimum": 5}, {"maximum": 1}]}, 3, (
            "x", "Invalid", 'Invalid value: 3: "x" must validate at least one schema (anyOf)')),
        (INT | {"allOf": [{"minimum": 5}]}, 3, ("x", "Invalid", "Invalid value: 3: x in body "
         "should "
                                                "be greater than or equal to 5")),
        (MAP_LIST, [{"k": "a"}, {"k": "a", "v": 1}], (
            "x[1]", "Duplicate", 'Duplicate value: {"k":"a"}')),
        ({"type": "array", "items": INT, "x-kubernetes-list-type": "set"}, [1, 1], (
            "x[1]", "Duplicate", "Duplicate value: 1")),
    ],
)  # fmt: skip
def test_a_value_that_the_schema_forbids_is_named(schema: Any, value: Any, found: Any) -> None:
    assert wrong(schema, value)[0] == found


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (INT, 3.0),
        (INT | {"nullable": True}, None),
        ({"type": "number"}, 3),
        ({"x-kubernetes-int-or-string": True}, "50%"),
        (TEXT | {"format": "unknown-format"}, "x"),
        (TEXT | {"maxLength": 1}, "é"),
        (ANY, {"any": [1, {"thing": None}]}),
    ],
)
def test_a_value_that_the_schema_allows_is_accepted(schema: Any, value: Any) -> None:
    assert wrong(schema, value) == []


def test_branches_in_branches_take_no_longer_than_they_are_long() -> None:
    nested: Any = {"minimum": 10}
    for _ in range(28):
        nested = {"anyOf": [nested, {"minimum": 10}]}
    found = wrong(INT | nested, 1)
    assert len(found) == 2  # the outermost, and the branch that fits best
    for _ in range(200):
        nested = {"not": nested}
    [said] = refused(root(x=INT | nested))
    assert "must not be nested more than 30 levels deep" in said


def test_what_has_not_changed_is_not_judged_again() -> None:
    small = INT | {"maximum": 1}
    obj = {"type": "object", "properties": {"a": small, "b": small}}
    assert wrong(obj, {"a": 5, "b": 1}, {"a": 5, "b": 0}) == []
    assert [w[0] for w in wrong(obj, {"a": 6, "b": 1}, {"a": 5, "b": 1})] == ["x.a"]
    items = copy.deepcopy(MAP_LIST)
    items["items"]["properties"]["v"] = small
    old = [{"k": "a", "v": 9}, {"k": "b", "v": 1}]
    assert wrong(items, [{"k": "b", "v": 0}, {"k": "a", "v": 9}], old) == []
    assert [w[0] for w in wrong(items, [{"k": "c", "v": 9}, *old], old)] == ["x[0].v"]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("ipv4", "1.2.3.4", "1.2.3.400"),
        ("ipv6", "::1", "1.2.3.4"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("uri", "https://a/b", "a b"),
        ("hostname", "a.example", "-a"),
        ("email", "a@b.c", "a"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        ("byte", "aGk=", "a!"),
        ("date", "2024-02-29", "2023-02-29"),
        ("date-time", "2024-01-01T00:00:00.5+02:00", "2024-01-01"),
        ("duration", "1h30m", "soon"),
        ("mac", "00:11:22:33:44:55", "00:11"),
        ("isbn10", "0-306-40615-2", "0-306-40615-3"),
        ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ("hexcolor", "#a1b2c3", "#ggg"),
    ],
)
def test_formats(name: str, good: str, bad: str) -> None:
    assert formats.holds(name, good)
    assert not formats.holds(name, bad)


def test_pruning_drops_what_nobody_specified_and_keeps_what_the_schema_says() -> None:
    schema = parse(root(
        spec={"type": "object", "properties": {"a": INT, "free": ANY | {"properties": {
            "known": {"type": "object", "properties": {"b": INT}}}}}},
        map={"type": "object", "additionalProperties": {
            "type": "object", "properties": {"c": INT}}},
        pod=ANY | {"x-kubernetes-embedded-resource": True},
    ))  # fmt: skip
    obj = {
        "apiVersion": "v", "kind": "K", "metadata": {"name": "n"}, "no": 1,
        "spec": {"a": 1, "no": 1, "free": {"x": {"y": 1}, "known": {"b": 1, "no": 1}}},
        "map": {"k": {"c": 1, "no": 1}},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "n", "no": 1}, "spec": {}},
    }  # fmt: skip
    assert sorted(pruning.unknown(obj, schema)) == [
        "map.k.no", "no", "pod.metadata.no", "spec.free.known.no", "spec.no",
    ]  # fmt: skip
    pruning.prune(obj, schema)
    assert pruning.unknown(obj, schema) == []
    assert obj["spec"] == {"a": 1, "free": {"x": {"y": 1}, "known": {"b": 1}}}
    assert obj["metadata"] == {"name": "n"}


def test_defaults_go_in_at_any_depth_and_into_defaults() -> None:
    inner = {"type": "object", "properties": {"n": INT | {"default": 7}}, "default": {}}
    schema = parse(root(
        spec={"type": "object", "default": {"a": 1}, "properties": {"a": INT, "in": inner}},
        list={"type": "array", "items": {"type": "object", "properties": {
            "v": TEXT | {"default": "d"}}}},
        null=TEXT | {"default": "x"}, kept=TEXT | {"default": "x", "nullable": True},
    ))  # fmt: skip
    obj: dict[str, Any] = {"list": [{}, {"v": "own"}], "null": None, "kept": None}
    defaulting.apply(obj, schema)
    assert obj == {
        "spec": {"a": 1, "in": {"n": 7}},
        "list": [{"v": "d"}, {"v": "own"}],
        "null": "x",
        "kept": None,
    }


def test_defaults_must_be_what_the_schema_allows() -> None:
    errors = Errors()
    schema = root(a=INT | {"default": "x"}, b={"type": "object", "default": {"no": 1}})
    default_values.check(parse(schema), "s", errors)
    assert [e.field for e in errors] == ["s.properties[a].default", "s.properties[b].default"]


def test_embedded_resources_are_resources() -> None:
    schema = parse(root(pod=ANY | {"x-kubernetes-embedded-resource": True}))
    errors = Errors()
    validate_embedded({"pod": {"kind": "Pod", "metadata": {"labels": {"-": "x"}}}}, schema, errors)
    assert [e.field for e in errors] == ["pod.apiVersion", "pod.metadata.labels"]


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text("abé", max_size=3))
OBJECTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "b", "spec", "k", "v", "metadata"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)
SCHEMAS = st.recursive(
    st.sampled_from(
        [INT, TEXT, ANY, INT | {"default": 1}, TEXT | {"nullable": True}, TEXT | {"pattern": "^a"},
         MAP_LIST, {"x-kubernetes-int-or-string": True}]
    ),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "spec", "k"]), inner, max_size=3).map(
        lambda p: {"type": "object", "properties": p}
    )
    | inner.map(lambda i: {"type": "array", "items": i})
    | inner.map(lambda i: {"type": "object", "additionalProperties": i}),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["spec", "a", "b"]), SCHEMAS, max_size=3),
       st.dictionaries(st.sampled_from(["spec", "a", "b", "no"]), OBJECTS, max_size=3))  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_any_object_is_cleaned_once_and_for_all(properties: Any, obj: Any) -> None:
    schema = root(**properties)
    assert refused(schema) == []
    kind = CustomKind(parse(schema))
    kind.read(obj)
    again = copy.deepcopy(obj)
    kind.read(again)
    assert again == obj
    assert pruning.unknown(obj, kind.structural) == []
    errors = Errors()
    values.validate(obj, kind.structural, errors)
    values.validate(obj, kind.structural, errors, obj)
