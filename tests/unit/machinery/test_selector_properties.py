"""Selectors against a plain oracle: what they print parses back, and they match as it says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.machinery import selectors
from cluster.machinery.errors import BadRequest

KEYS = st.sampled_from(["a", "in", "notin", "example.com/x", "b.c_d-e"])
VALUES = st.sampled_from(["", "a", "B-c_d.e", "in", "0", "7", "07", "1_0", "9" * 19, "9" * 18])
BOUNDS = st.sampled_from(["0", "5", "07", "9" * 18])
LABELS = st.dictionaries(KEYS, VALUES)
SPACE = st.sampled_from(["", " ", "  "])

Term = tuple[str, str, list[str]]
TERMS: st.SearchStrategy[Term] = st.one_of(
    st.tuples(KEYS, st.sampled_from(["=", "==", "!="]), st.lists(VALUES, min_size=1, max_size=1)),
    st.tuples(KEYS, st.sampled_from(["in", "notin"]), st.lists(VALUES, min_size=1, max_size=3)),
    st.tuples(KEYS, st.sampled_from(["exists", "!"]), st.just([])),
    st.tuples(KEYS, st.sampled_from(["<", ">"]), st.lists(BOUNDS, min_size=1, max_size=1)),
)


def written(term: Term, space: str) -> str:
    key, operator, values = term
    if operator in ("exists", "!"):
        return f"!{space}{key}" if operator == "!" else key
    if operator in ("in", "notin"):
        return f"{key} {operator} ({f',{space}'.join(values)}{space})"
    return f"{key}{space}{operator}{space}{values[0]}"


def holds(term: Term, labels: dict[str, str]) -> bool:
    """By the reference of Kubernetes: what is missing is unequal to, and in no order with, all."""
    key, operator, values = term
    if operator == "exists":
        return key in labels
    if operator == "!":
        return key not in labels
    if operator in ("=", "==", "in"):
        return key in labels and labels[key] in values
    if operator in ("!=", "notin"):
        return not (key in labels and labels[key] in values)
    if not re.fullmatch("[0-9]+", labels.get(key, "")) or int(labels[key]) >= 2**63:
        return False  # no 64-bit integer
    number, bound = int(labels[key]), int(values[0])
    return number < bound if operator == "<" else number > bound


@given(st.lists(TERMS, max_size=4), SPACE, LABELS)
@example([("a", ">", ["5"])], "", {"a": "1_0"})
@example([("a", ">", ["5"])], "", {"a": "9" * 19})
def test_labels_match_as_the_oracle_says_and_so_does_what_is_printed(
    terms: list[Term], space: str, labels: dict[str, str]
) -> None:
    selector = selectors.parse_labels(f"{space},{space}".join(written(t, space) for t in terms))
    assert selector.matches(labels) is all(holds(term, labels) for term in terms)
    again = selectors.parse_labels(str(selector))
    assert str(again) == str(selector)
    assert again.matches(labels) is selector.matches(labels)


OBJECTS: dict[str, str] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


@given(
    st.dictionaries(KEYS, VALUES, max_size=2),
    st.lists(
        st.tuples(KEYS, st.sampled_from(sorted(OBJECTS)), st.lists(VALUES, min_size=1, max_size=2)),
        max_size=3,
    ),
    LABELS,
)
def test_selector_objects_match_as_the_same_selectors_in_text(
    equal: dict[str, str], expressions: list[Term], labels: dict[str, str]
) -> None:
    entries = [
        {"key": key, "operator": operator}
        | ({"values": values} if operator in ("In", "NotIn") else {})
        for key, operator, values in expressions
    ]
    selector = selectors.from_object({"matchLabels": equal, "matchExpressions": entries})
    terms = [(key, "=", [value]) for key, value in equal.items()]
    terms += [(key, OBJECTS[operator], values) for key, operator, values in expressions]
    assert selector.matches(labels) is all(holds(term, labels) for term in terms)
    assert selectors.parse_labels(str(selector)).matches(labels) is selector.matches(labels)


@given(st.text("ab=!<>(),in \\-_./1", max_size=12))
def test_any_text_is_a_selector_that_prints_as_one_or_is_refused(text: str) -> None:
    try:
        selector = selectors.parse_labels(text)
    except BadRequest:
        return
    assert str(selectors.parse_labels(str(selector))) == str(selector)


PATHS = st.sampled_from(["metadata.name", "spec.nodeName", "status.phase"])
TEXTS = st.text("ab=,\\! ", max_size=6).map(str.strip)
FIELDS = st.lists(st.tuples(PATHS, st.sampled_from(["=", "==", "!="]), TEXTS), max_size=3)


def escaped(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)


@given(FIELDS, st.dictionaries(PATHS, TEXTS))
def test_fields_match_as_the_oracle_says(
    terms: list[tuple[str, str, str]], found: dict[str, str]
) -> None:
    obj: dict[str, Any] = {}
    for path, value in found.items():
        outer, inner = path.split(".")
        obj.setdefault(outer, {})[inner] = value
    text = ",".join(f"{path}{operator}{escaped(value)}" for path, operator, value in terms)
    selector = selectors.parse_fields(text)
    wanted = all((found.get(path, "") == value) is (op != "!=") for path, op, value in terms)
    assert selector.matches(obj) is wanted
    parsed = [(r.path, r.equal, r.value) for r in selector.requirements]
    assert parsed == [(path, operator != "!=", value) for path, operator, value in terms]


@pytest.mark.parametrize("text", ["a>1_0", "a<99999999999999999999", "a>5a"])
def test_bounds_that_are_no_integers_are_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="must be an integer"):
        selectors.parse_labels(text)


@pytest.mark.parametrize("text", ["a=b=c", "a=\\x", "a=b\\", "a=b\\,c=d\\", "a", "=\\"])
def test_values_of_fields_that_are_not_escaped_well_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        selectors.parse_fields(text)
