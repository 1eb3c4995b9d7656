from __future__ import annotations

import asyncio

import pytest

from cluster.controllers import autoscaling_decision as decision
from cluster.controllers.autoscaling_metrics import Sample
from cluster.controllers.resourcequota import ResourceQuotaController, kinds, status_of

NOW_S = 1_800_000_000.0


def names(count, first=0):
    return [f"p{n}" for n in range(first, first + count)]


def advise(samples, current, target=50, unready=0, missing=0, request=1000):
    """Replicas by utilisation, of ready pods with these samples and some without."""
    ready = names(len(samples))
    groups = decision.Groups(set(ready), set(names(unready, 100)), set(names(missing, 200)))
    every = [*ready, *groups.unready, *groups.missing]
    found = {name: Sample(milli) for name, milli in zip(ready, samples, strict=True)}
    weights = dict.fromkeys(every, request)
    return decision.by_target(current, groups, found, weights, target, max(100, target))[0]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([500, 500], 2),
        ([540, 540], 2),
        ([800, 800], 4),
        ([100, 100], 1),
        ([1000, 400], 3),
    ],
)
def test_replicas_follow_utilisation_outside_a_tenth_of_tolerance(samples, expected):
    assert advise(samples, len(samples)) == expected


def test_pods_that_start_are_idle_when_scaling_up():
    assert advise([1000, 1000], 4, unready=2) == 4
    assert advise([2000, 2000], 4, unready=2) == 8


def test_pods_without_metrics_are_against_the_change():
    assert advise([100, 100], 4, missing=2) == 4
    assert advise([900, 900], 4, missing=2) == 4
    assert advise([1500, 1500], 4, missing=2) == 6


def test_without_any_ready_pod_there_is_no_advice():
    with pytest.raises(ValueError, match="any ready pods"):
        advise([], 2, unready=2)


def test_one_value_for_all_pods():
    assert decision.by_value(3, 3, 20_000, 10_000) == 6
    assert decision.by_average_value(3, 45_000, 10_000) == 5
    assert decision.by_average_value(3, 31_000, 10_000) == 3


def scale(current, wanted, memory=None, now_s=NOW_S, low=1, high=100, **behavior):
    spec = {"minReplicas": low, "maxReplicas": high, "behavior": behavior}
    return decision.limit(spec, current, wanted, memory or decision.Memory(), now_s)


def test_by_default_going_up_doubles_or_adds_four_and_going_down_waits_five_minutes():
    assert scale(2, 50) == decision.Limited(6, "ScaleUpLimit")
    assert scale(10, 50) == decision.Limited(20, "ScaleUpLimit")
    memory = decision.Memory()
    assert scale(10, 10, memory).replicas == 10
    assert scale(10, 2, memory, NOW_S + 200) == decision.Limited(10, "", True)
    assert scale(10, 2, memory, NOW_S + 301).replicas == 2


def test_changes_within_the_period_count_against_the_policy():
    memory = decision.Memory(changes=[(NOW_S - 5, 4)])
    assert scale(6, 50, memory).replicas == 6
    assert scale(6, 50, memory, NOW_S + 20).replicas == 12


def test_policies_choose_and_disable():
    policies = [
        {"type": "Pods", "value": 1, "periodSeconds": 60},
        {"type": "Percent", "value": 50, "periodSeconds": 60},
    ]
    now = {"stabilizationWindowSeconds": 0, "policies": policies}
    assert scale(10, 1, scaleDown=now) == decision.Limited(5, "ScaleDownLimit")
    assert scale(10, 1, scaleDown={**now, "selectPolicy": "Min"}).replicas == 9
    assert scale(10, 1, scaleDown={**now, "selectPolicy": "Disabled"}).replicas == 10


def test_bounds_of_the_spec_win():
    assert scale(2, 9, high=3) == decision.Limited(3, "TooManyReplicas")
    down = {"stabilizationWindowSeconds": 0}
    assert scale(5, 0, low=2, scaleDown=down) == decision.Limited(2, "TooFewReplicas")


def test_a_quota_is_not_written_from_caches_that_lag_behind_it():
    """The cache lacks a pod that the quota has been charged for already."""
    pod = {"metadata": {"namespace": "d"}, "spec": {"containers": [{"name": "c"}]}}
    quota = {
        "metadata": {"name": "q", "namespace": "d"},
        "spec": {"hard": {"pods": "2"}},
        "status": {"hard": {"pods": "2"}, "used": {"pods": "1"}},
    }

    class Cache:
        def of(self, resource):
            return self

        async def synced(self):
            return None

        def get(self, key):
            return quota

        def list(self):
            return []

    class Server:
        async def list(self, resource, namespace):
            return {"items": [pod] if resource.plural == "pods" else []}

        async def update(self, resource, obj, subresource):
            raise AssertionError(f"lowered to {obj['status']}")

    controller = object.__new__(ResourceQuotaController)
    controller.informers, controller.client = Cache(), Server()
    asyncio.run(controller.reconcile("d/q"))


def test_a_quota_is_counted_from_what_is_there():
    hard = {"pods": "5", "requests.memory": "1Gi", "count/deployments.apps": "2"}
    hard["count/things.example.org"] = "1"
    container = {"name": "c", "resources": {"requests": {"memory": "256Mi"}}}

    def objects(resource, namespace):
        if resource.plural == "pods":
            return [{"metadata": {}, "spec": {"containers": [container]}}] * 2
        return [{"metadata": {}}] if resource.plural == "deployments" else []

    found = {"metadata": {"namespace": "d"}, "spec": {"hard": hard}}
    assert status_of(found, kinds(hard), objects) == {
        "hard": hard,
        "used": {
            "pods": "2",
            "requests.memory": "512Mi",
            "count/deployments.apps": "1",
            "count/things.example.org": "0",
        },
    }
