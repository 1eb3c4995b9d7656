"""JSON to protobuf and back, and what a body goes through on its way in, for every type."""

from __future__ import annotations

import copy
from typing import Any

import objects
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.machinery import kinds, quantity, schema
from cluster.machinery.codec import json_codec, protobuf, yaml_codec

Object = dict[str, Any]

EMPTY = (None, "", 0, False, [], {})


def filled(value: Any) -> Any:
    """Without what Go's protobuf does not tell from nothing: zeros, empty text, lists and maps."""
    if isinstance(value, dict):
        inner = {key: filled(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in EMPTY}
    if isinstance(value, list):
        return [filled(item) for item in value]
    return value


def test_every_kind_is_tried() -> None:
    assert len(objects.KINDS) > 60


@pytest.mark.parametrize("pair", objects.KINDS, ids=lambda pair: ".".join(pair))
def test_nothing_is_lost_between_json_and_protobuf(pair: tuple[str, str]) -> None:
    @given(objects.kind(*pair))
    def check(obj: Object) -> None:
        once = protobuf.decode(protobuf.encode(copy.deepcopy(obj)))
        assert filled(once) == filled(canonical(obj, schema.type_for(*pair)))
        assert protobuf.decode(protobuf.encode(copy.deepcopy(once))) == once

    check()


def canonical(value: Any, type_: str | None) -> Any:
    """Numbers as quantities are text in protobuf."""
    if type_ is None:
        return value
    if type_.startswith("[]"):
        return [canonical(item, type_[2:]) for item in value]
    if type_.startswith("{}"):
        return {key: canonical(item, type_[2:]) for key, item in value.items()}
    if type_ == schema.QUANTITY:
        return str(value)
    definition = schema.find(type_)
    if definition is None or definition.scalar or not isinstance(value, dict):
        return value
    if type_.endswith(".DeleteOptions"):  # in an eviction: what it is, its place says
        value = {key: item for key, item in value.items() if key not in ("apiVersion", "kind")}
    return {
        key: canonical(item, definition.fields[key].type if key in definition.fields else None)
        for key, item in value.items()
    }


@given(objects.any_kind())
def test_json_and_yaml_say_the_same(obj: Object) -> None:
    body = json_codec.encode(obj)
    assert json_codec.decode(body) == obj
    assert yaml_codec.decode(body) == obj


@given(objects.any_kind())
def test_well_typed_objects_pass_and_pruning_and_defaulting_are_idempotent(obj: Object) -> None:
    kind = kinds.built_in(obj["apiVersion"], obj["kind"])
    assert kind is not None
    assert kind.check_types(obj) == []
    assert kind.unknown_fields(obj) == []
    kind.prune(obj)
    pruned = copy.deepcopy(obj)
    kind.prune(obj)
    assert obj == pruned
    kind.default(obj)
    defaulted = copy.deepcopy(obj)
    kind.default(obj)
    assert obj == defaulted
    assert kind.unknown_fields(obj) == []
    assert kind.check_types(obj) == []


@given(st.integers(-(10**30), 10**30), st.booleans())
def test_a_quantity_prints_as_what_parses_to_it(nano: int, binary: bool) -> None:
    text = quantity.format(nano, binary)
    assert quantity.parse(text) == nano
    assert quantity.canonical(text) == text or binary


@given(
    objects.QUANTITIES | st.from_regex(r"\A[+-]?[0-9]{1,4}(\.[0-9]{0,4})?(m|u|n|k|Mi|Gi|e3|E)?\Z")
)
def test_a_canonical_quantity_is_the_same_amount_and_stays(text: Any) -> None:
    once = quantity.canonical(text)
    assert quantity.parse(once) == quantity.parse(text)
    assert quantity.canonical(once) == once
