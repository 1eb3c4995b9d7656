"""Objects with two versions: nothing is lost on the way to the other one and back."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.machinery import conversion, schema, strict

Object = dict[str, Any]
WORDS = st.sampled_from(["a", "b", "c"])
AMOUNTS = st.sampled_from(["1", "100m", "2Gi"])


def targets(part: str) -> st.SearchStrategy[Object]:
    """Values of a metric; only targets name their type."""
    kinds = {"value": ("Value", AMOUNTS), "averageValue": ("AverageValue", AMOUNTS),
             "averageUtilization": ("Utilization", st.integers(1, 99))}  # fmt: skip
    each = []
    for name, (type_, values) in kinds.items():
        fixed = {name: values} | ({"type": st.just(type_)} if part == "target" else {})
        each.append(st.fixed_dictionaries(fixed))
    return st.one_of(each)


def metrics(part: str) -> st.SearchStrategy[Object]:
    identifier = st.fixed_dictionaries(
        {"name": WORDS},
        optional={"selector": st.just({"matchLabels": {"x": "y"}})},
    )
    about = st.just({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"})
    sources: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "Resource": {"name": st.sampled_from(["cpu", "memory"])},
        "ContainerResource": {"name": WORDS, "container": WORDS},
        "Pods": {"metric": identifier},
        "External": {"metric": identifier},
        "Object": {"metric": identifier, "describedObject": about},
    }
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just(type_), type_[0].lower() + type_[1:]: st.fixed_dictionaries(
                {**fields, part: targets(part)})}
        )
        for type_, fields in sources.items()
    )  # fmt: skip


AUTOSCALERS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("autoscaling/v2"),
        "kind": st.just("HorizontalPodAutoscaler"),
        "metadata": st.fixed_dictionaries(
            {"name": WORDS}, optional={"annotations": st.dictionaries(WORDS, WORDS, min_size=1)}
        ),
        "spec": st.fixed_dictionaries(
            {
                "maxReplicas": st.integers(1, 9),
                "scaleTargetRef": st.just({"kind": "X", "name": "x"}),
            },
            optional={
                "metrics": st.lists(metrics("target"), min_size=1, max_size=4),
                "behavior": st.just({"scaleUp": {"selectPolicy": "Max"}}),
            },
        ),
    },
    optional={
        "status": st.fixed_dictionaries(
            {"currentReplicas": st.integers(0, 9)},
            optional={
                "currentMetrics": st.lists(metrics("current"), min_size=1, max_size=3),
                "conditions": st.just([{"type": "AbleToScale", "status": "True"}]),
            },
        )
    },
)  # fmt: skip


def unordered(obj: Object) -> Object:
    """CPU moves behind the other metrics in v1; their order means nothing."""
    for part, name in (("spec", "metrics"), ("status", "currentMetrics")):
        if name in obj.get(part, {}):
            obj[part][name] = sorted(obj[part][name], key=lambda m: json.dumps(m, sort_keys=True))
    return obj


@given(AUTOSCALERS)
def test_an_autoscaler_survives_its_other_version(obj: Object) -> None:
    before = copy.deepcopy(obj)
    old = conversion.convert(obj, "autoscaling/v1")
    assert obj == before, "the input is not changed"
    type_name = schema.type_for("autoscaling/v1", "HorizontalPodAutoscaler")
    assert type_name is not None
    assert strict.check(old, type_name) == [], "v1 has no fields of v2"
    again = conversion.convert(old, "autoscaling/v2")
    assert unordered(again) == unordered(before)


EVENTS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Event"),
        "metadata": st.just({"name": "e"}),
        "involvedObject": st.fixed_dictionaries({}, optional={"kind": WORDS, "name": WORDS}),
    },
    optional={
        "message": WORDS, "reason": WORDS, "type": WORDS, "action": WORDS,
        "reportingComponent": WORDS, "reportingInstance": WORDS,
        "source": st.fixed_dictionaries({"component": WORDS}, optional={"host": WORDS}),
        "count": st.integers(1, 9), "firstTimestamp": st.just("2026-01-01T00:00:00Z"),
        "lastTimestamp": st.just("2026-01-01T00:00:00Z"),
        "eventTime": st.just("2026-01-01T00:00:00.000001Z"),
        "series": st.just({"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000001Z"}),
        "related": st.just({"kind": "Pod"}),
    },
)  # fmt: skip


@given(EVENTS)
def test_an_event_survives_its_other_version(obj: Object) -> None:
    new = conversion.convert(obj, "events.k8s.io/v1")
    type_name = schema.type_for("events.k8s.io/v1", "Event")
    assert type_name is not None
    assert strict.check(new, type_name) == []
    assert conversion.convert(new, "v1") == obj


def test_there_is_no_way_to_versions_that_are_not_served() -> None:
    with pytest.raises(KeyError):
        conversion.convert({"apiVersion": "v1", "kind": "Pod"}, "v2")
