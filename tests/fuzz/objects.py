"""Objects of any type of the API, as Hypothesis strategies made from the schema tables.

They have the right JSON types and nothing more: names, units and references are mostly senseless,
so codecs and merges see what no example shows. Every object is small: a few fields of each type.
"""

from __future__ import annotations

import base64
import datetime
from functools import cache
from typing import Any

from hypothesis import strategies as st

from cluster.machinery import resources, schema

Object = dict[str, Any]

MAX_FIELDS = 4
MAX_DEPTH = 6
NAMES = st.text("abz0-./é\U0001f600", min_size=1, max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
QUANTITIES = st.sampled_from(
    ["0", "1", "500m", "1Gi", "1500M", "100n", "3e3", "-2", "1.5", "0.1Mi", 2, 0, "+7", "12E"]
)
TIMES = st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2400, 1, 1))


def _time(micro: bool) -> st.SearchStrategy[str]:
    shape = "%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ"
    return TIMES.map(lambda moment: moment.strftime(shape))


_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=6) | NAMES,
    "boolean": st.booleans(),
    "integer:int32": st.integers(-(2**31), 2**31 - 1) | st.integers(0, 3),
    "integer:int64": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3),
    "number:double": st.floats(allow_nan=False, allow_infinity=False, width=64),
    "string:byte": st.binary(max_size=5).map(lambda b: base64.b64encode(b).decode()),
    schema.QUANTITY: QUANTITIES,
    schema.TIME: _time(False),
    schema.MICRO_TIME: _time(True),
    schema.INT_OR_STRING: st.integers(-(2**31), 2**31 - 1) | st.sampled_from(["25%", "web", ""]),
    schema.FIELDS_V1: st.just({"f:spec": {".": {}}}),
    schema.RAW_EXTENSION: st.dictionaries(NAMES, JSON, min_size=1, max_size=2),
}


@cache
def value(type_: str, depth: int = MAX_DEPTH) -> st.SearchStrategy[Any]:
    """Values of a type as `schema.Field.type` names it."""
    if type_.startswith("[]"):
        return st.lists(value(type_[2:], depth), max_size=2)
    if type_.startswith("{}"):
        return st.dictionaries(NAMES, value(type_[2:], depth), max_size=2)
    if type_ in _SCALARS:
        return _SCALARS[type_]
    definition = schema.find(type_)
    if definition is None or definition.scalar:
        if type_.endswith(".CustomResourceSubresourceStatus"):
            return st.just({})  # a struct without fields
        scalar = definition.scalar if definition else "any"
        return st.dictionaries(NAMES, JSON, max_size=2) if scalar == "object" else JSON
    return st.deferred(lambda: _struct(type_, depth))


@cache
def _struct(type_: str, depth: int) -> st.SearchStrategy[Object]:
    definition = schema.definition(type_)
    names = sorted(definition.fields)
    if depth == 0:
        names = [n for n in names if schema.find(definition.fields[n].element) is None]
    if not names:
        return st.just({})
    chosen = st.lists(st.sampled_from(names), max_size=MAX_FIELDS, unique=True)
    return chosen.flatmap(
        lambda picked: st.fixed_dictionaries(
            {n: value(definition.fields[n].type, max(0, depth - 1)) for n in picked}
        )
    )


_SENT = {(r.api_version, r.kind) for r in resources.ALL if r.stable} | {
    (s.api_version, s.kind) for r in resources.ALL for s in r.subresources if r.stable
}
KINDS = tuple(sorted(pair for pair in _SENT if schema.type_for(*pair)))
"""Every kind that clients of the stable API send and get."""


@cache
def kind(api_version: str, name: str) -> st.SearchStrategy[Object]:
    """Objects of a kind, with apiVersion, kind and a name."""
    type_ = schema.type_for(api_version, name)
    assert type_ is not None
    head = {"apiVersion": api_version, "kind": name}
    return value(type_).map(
        lambda body: {**body, **head, "metadata": {**(body.get("metadata") or {}), "name": "x"}}
    )


def any_kind() -> st.SearchStrategy[Object]:
    """Objects of every kind that the API has."""
    return st.sampled_from(KINDS).flatmap(lambda pair: kind(*pair))
