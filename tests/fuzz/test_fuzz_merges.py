"""Strategic merge and server-side apply on objects of every kind: what they must come to."""

from __future__ import annotations

import copy
from typing import Any

import objects
import pytest
import three_way
from hypothesis import assume, given
from hypothesis import strategies as st

from cluster.machinery import kinds, schema
from cluster.machinery.apply import BUILTIN, Writer, applied
from cluster.machinery.patch import merge_patch, strategic

Object = dict[str, Any]


def variants(pair: tuple[str, str], count: int) -> st.SearchStrategy[list[Object]]:
    """Some objects of one kind, each with parts of the others: else they would have no field in
    common."""
    drawn = st.lists(objects.kind(*pair), min_size=count, max_size=count)
    mixes = st.lists(st.integers(0, 2**30), min_size=count, max_size=count)
    return st.tuples(drawn, mixes).map(lambda both: [mixed(m, both[0]) for m in both[1]])


def mixed(choice: int, found: list[Object]) -> Object:
    """Each field from one of the objects, or from none."""
    out: Object = {}
    for name in sorted({name for each in found for name in each}):
        having = [each[name] for each in found if name in each]
        choice, at = divmod(choice, len(having) + 1)
        if name in ("apiVersion", "kind", "metadata"):
            out[name] = having[min(at, len(having) - 1)]
        elif at < len(having):
            inner = [value for value in having if isinstance(value, dict)]
            same = isinstance(having[at], dict) and len(inner) > 1
            out[name] = mixed(choice, inner) if same else having[at]
    return copy.deepcopy(out)


def sound(value: Any, field: schema.Field) -> Any:
    """With merge keys where lists are merged, each once, and no nulls, as a merge needs it."""
    if isinstance(value, dict):
        return {
            name: sound(item, three_way.field_of(field.type, name))
            for name, item in value.items()
            if item is not None and not name.startswith("$")
        }
    if not isinstance(value, list):
        return value
    items = [sound(item, schema.Field(field.element)) for item in value if item is not None]
    if not three_way.merges(field):
        return items
    key = field.patch_merge_key
    if not key:
        return [item for at, item in enumerate(items) if item not in items[:at]]
    once: dict[Any, Any] = {}
    for item in items:
        if item.get(key) not in (None, ""):
            once.setdefault(item[key], item)
    return list(once.values())


@pytest.mark.parametrize("pair", objects.KINDS, ids=lambda pair: ".".join(pair))
def test_a_strategic_patch_turns_one_object_into_another(pair: tuple[str, str]) -> None:
    type_ = schema.type_for(*pair)
    assert type_ is not None
    root = schema.Field(type_)

    @given(variants(pair, 3))
    def check(drawn: list[Object]) -> None:
        original, modified, current = (sound(each, root) for each in drawn)
        patch = three_way.two_way(original, modified, type_)
        result = strategic.apply(original, patch, type_)
        assert three_way.unordered(result, root) == three_way.unordered(modified, root)
        patch = three_way.three_way(original, modified, current, type_)
        result = strategic.apply(current, patch, type_)
        wanted = three_way.expected(original, modified, current, root)
        assert three_way.unordered(result, root) == three_way.unordered(wanted, root)

    check()


@given(st.dictionaries(objects.NAMES, objects.JSON), st.dictionaries(objects.NAMES, objects.JSON))
def test_a_merge_patch_sets_what_it_says_and_keeps_the_rest(doc: Object, patch: Object) -> None:
    result = merge_patch.apply(doc, patch)
    assert merge_patch.apply(result, patch) == result
    for name, value in patch.items():
        if not isinstance(value, dict):
            assert result.get(name) == value
    assert {n: v for n, v in result.items() if n not in patch} == {
        n: v for n, v in doc.items() if n not in patch
    }


WRITER = "2026-01-01T00:00:00Z"


def put(live: Object | None, config: Object, name: str) -> Object:
    writer = Writer(name, config["apiVersion"], WRITER)
    return applied(live, copy.deepcopy(config), writer, BUILTIN, force=True)


def without_keys(value: Any) -> bool:
    """Whether a list that is a map has an item without its keys, or the same one twice."""
    try:
        put(None, value, "x")
    except ValueError:
        return True
    return False


SYSTEMS = (
    "managedFields", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "clusterName", "generation", "namespace", "resourceVersion", "selfLink", "uid",
)  # fmt: skip
"""Metadata that is nobody's: the registry sets it again after every write."""


def bare(obj: Object) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k not in SYSTEMS}
    return {**obj, "metadata": metadata}


def with_contents(value: Any) -> Any:
    """Without empty maps and lists: one goes with what another manager has put in it."""
    if isinstance(value, dict):
        inner = {name: with_contents(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [with_contents(item) for item in value]
    return value


def owners(obj: Object) -> dict[str, Any]:
    return {e["manager"]: e["fieldsV1"] for e in obj["metadata"].get("managedFields") or []}


@pytest.mark.parametrize("pair", objects.KINDS, ids=lambda pair: ".".join(pair))
def test_applies_of_any_kind_are_idempotent_and_give_back_what_they_took(
    pair: tuple[str, str],
) -> None:
    kind = kinds.built_in(*pair)
    assert kind is not None

    @given(variants(pair, 3))
    def check(drawn: list[Object]) -> None:
        for each in drawn:
            owned = ("name", "labels", "annotations", "finalizers", "ownerReferences")
            each["metadata"] = {k: v for k, v in each["metadata"].items() if k in owned}
            kind.prune(each)
        assume(not any(without_keys(each) for each in drawn))
        live, config, other = *drawn[:2], with_contents(drawn[2])
        first = put(None, live, "first")
        assume(owners(first))  # what nobody has said anything about is not tracked yet
        once = put(first, config, "second")
        assert put(once, config, "second") == once
        assert owners(once).get("second") == owners(put(None, config, "second")).get("second")
        both = put(once, other, "third")
        alone = put(both, head(config), "second")
        assert owners(alone).get("third") == owners(both).get("third")
        assert contains(bare(alone), bare(put(None, other, "x")))

    check()


def head(obj: Object) -> Object:
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": {"name": obj["metadata"]["name"]},
    }


def contains(whole: Any, part: Any) -> bool:
    """Whether everything of `part` that is a plain field stands in `whole`."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            contains(whole.get(name), item) for name, item in part.items() if item not in ({}, [])
        )
    return isinstance(part, list) or whole == part
