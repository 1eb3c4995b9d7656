from __future__ import annotations

import pytest

from cluster.controllers import disruption
from cluster.machinery import meta

NOW_S = 1_800_000_000.0
OWNER = {"kind": "StatefulSet", "metadata": {"uid": "s"}, "spec": {"replicas": 10}}


def make_pod(name, ready=True):
    reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "s"}
    metadata = {"name": name, "namespace": "d", "ownerReferences": [reference]}
    reference["controller"] = True
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"conditions": conditions}}


def make_budget(disrupted=None, **spec):
    status = {"disruptedPods": disrupted} if disrupted else {}
    return {"metadata": {"name": "b", "namespace": "d"}, "spec": spec, "status": status}


def find(reference, namespace):
    return OWNER


@pytest.mark.parametrize(
    ("spec", "needed", "expected"),
    [
        ({"minAvailable": 8}, 8, 9),
        ({"minAvailable": "75%"}, 8, 10),
        ({"maxUnavailable": 1}, 9, 10),
        ({"maxUnavailable": "25%"}, 7, 10),
        ({}, 1, 9),
    ],
)
def test_how_many_must_be_healthy_of_how_many(spec, needed, expected):
    pods = [make_pod(str(n)) for n in range(9)]
    status, _ = disruption.status_of(make_budget(**spec), pods, find, NOW_S)
    assert (status["desiredHealthy"], status["expectedPods"]) == (needed, expected)
    assert status["disruptionsAllowed"] == 9 - needed


def test_an_evicted_pod_is_not_healthy_until_it_is_gone_or_two_minutes_are_over():
    pods = [make_pod("a"), make_pod("b")]
    evicted = {"a": meta.format_time(NOW_S - 20), "gone": meta.format_time(NOW_S)}
    budget = make_budget(evicted, minAvailable=1)
    status, again_s = disruption.status_of(budget, pods, find, NOW_S)
    assert (status["disruptionsAllowed"], again_s) == (0, 100.0)
    assert list(status["disruptedPods"]) == ["a"]
    later, _ = disruption.status_of(budget, pods, find, NOW_S + 100)
    assert later["disruptionsAllowed"] == 1
    assert "disruptedPods" not in later


def test_while_the_numbers_are_not_known_nothing_may_go():
    status = disruption.failed_status(make_budget(minAvailable=1), "why", NOW_S)
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "SyncFailed"


def test_pods_without_a_controller_are_no_part_of_a_scale():
    pod = make_pod("a")
    del pod["metadata"]["ownerReferences"]
    assert disruption.expected_scale([pod], find) == 0
