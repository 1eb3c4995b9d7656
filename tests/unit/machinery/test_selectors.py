"""Label and field selectors."""

import pytest

from cluster.machinery import selectors
from cluster.machinery.errors import BadRequest

LABELS = {"app": "web", "tier": "front", "n": "5", "example.com/x": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("app=web", True), ("app==web", True), ("app=web,tier=back", False),
        ("app!=web", False), ("other!=web", True), ("app in (web,db)", True), ("app", True),
        ("app notin (web, db)", False), ("missing notin (a)", True), ("missing", False),
        ("!app", False), ("!missing", True), ("n>4", True), ("n<4", False), ("app>4", False),
        ("example.com/x=", True), ("example.com/x", True), ("x in (,a)", False),
        ("app = web", True),
    ],
)  # fmt: skip
def test_labels_match_as_upstream(text: str, matches: bool) -> None:
    assert selectors.parse_labels(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text", ["a=b=c", "a in b", "a in (b", "=b", "a,,b", "a,", "a b", "-a=b", "a=b!", "a>x", "a=-"]
)
def test_a_malformed_label_selector_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        selectors.parse_labels(text)


def test_a_selector_prints_as_text_that_parses_back() -> None:
    text = "!d,a=b,c notin (x,y),e,n>4"
    selector = selectors.parse_labels(text)
    assert str(selector) == text
    assert selectors.parse_labels(str(selector)) == selector


def test_an_absent_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not selectors.from_object(None).matches({})
    assert selectors.from_object({}).matches(None)
    assert not selectors.from_labels({}).matches({})


def test_expressions_of_a_selector_object_count() -> None:
    selector = selectors.from_object(
        {"matchLabels": {"app": "web"},
         "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]},
                              {"key": "z", "operator": "DoesNotExist"}]}
    )  # fmt: skip
    assert selector.matches(LABELS)
    assert not selector.matches(LABELS | {"z": ""})
    with pytest.raises(BadRequest):
        selectors.from_object({"matchExpressions": [{"key": "a", "operator": "Equals"}]})


def test_field_selectors_compare_text() -> None:
    pod = {"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
    assert selectors.parse_fields("metadata.name=a,status.phase!=Failed").matches(pod)
    assert not selectors.parse_fields("spec.nodeName=").matches(pod)
    assert selectors.parse_fields("spec.nodeName=").matches({})
    assert selectors.parse_fields("spec.unschedulable=false").matches({})
    assert selectors.parse_fields("spec.unschedulable=true").matches(
        {"spec": {"unschedulable": 1 == 1}}
    )
    assert selectors.parse_fields("a=x\\,y").requirements[0].value == "x,y"
    assert selectors.parse_fields("metadata.name==a").exact("metadata.name") == "a"
    with pytest.raises(BadRequest):
        selectors.parse_fields("metadata.name")
