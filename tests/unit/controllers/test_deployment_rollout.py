"""Rollouts as a simulation: sizes from the rules, pods that come up in any order."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.controllers import deployment_facts as facts
from cluster.controllers import deployment_rollout as rollout
from cluster.controllers import deployment_status as statuses


def deployment(replicas=10, surge="25%", unavailable="25%", image="v1", **spec):
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "ns", "uid": "du", "generation": 2},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "x"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": template,
            "progressDeadlineSeconds": 600,
            **spec,
        },
    }


def replica_set(owner, replicas, available, age=0, **annotations):
    made = facts.new_replica_set(owner, replicas, 1)
    made["metadata"] |= {
        "uid": f"uid-{age}-{made['metadata']['name']}",
        "creationTimestamp": f"2026-01-01T00:00:{age:02d}Z",
    }
    made["metadata"]["annotations"] |= annotations
    made["status"] = {
        "replicas": replicas,
        "readyReplicas": available,
        "availableReplicas": available,
    }
    return made


def name(item):
    return item["metadata"]["name"]


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [("25%", "25%", 10, (3, 2)), (0, 0, 5, (0, 1)), (0, "1%", 5, (0, 1)), (1, 0, 1, (1, 0)),
     (5, 9, 3, (5, 3))],
)  # fmt: skip
def test_surge_rounds_up_and_unavailable_down_but_not_both_to_nothing(
    surge, unavailable, replicas, expected
):
    assert facts.surge_and_unavailable(deployment(replicas, surge, unavailable)) == expected


def test_the_new_set_grows_into_the_surge_only():
    new = deployment(10, image="v2")
    old = replica_set(deployment(10), 10, 10)
    assert rollout.new_set_size(new, None, [old]) == 3


def test_old_pods_that_are_not_available_go_first():
    goal = deployment(10, image="v3")
    broken = replica_set(deployment(10, image="v2"), 4, 0, age=2)
    sound = replica_set(deployment(10, image="v1"), 8, 8, age=1)
    new = replica_set(goal, 1, 0, age=3)
    assert rollout.shrink_old(goal, new, [broken, sound]) == {name(broken): 0}


def test_scaling_a_rollout_keeps_the_proportions():
    goal = deployment(15, image="v2")
    before = deployment(10)
    old = replica_set(before, 8, 8, age=1)
    new = replica_set(deployment(10, image="v2"), 5, 0, age=2)
    assert rollout.is_scaling(goal, [new, old])
    sizes = rollout.scale(goal, new, [old])
    assert sum(sizes.values()) == 15 + 4
    assert sizes == {name(old): 12, name(new): 7}


def test_scaling_a_settled_deployment_sizes_its_only_active_set():
    goal = deployment(3)
    new = replica_set(deployment(10), 10, 10, age=2)
    empty = replica_set(deployment(10, image="v0"), 0, 0, age=1)
    assert rollout.scale(goal, new, [empty]) == {name(new): 3}


def test_the_hash_depends_on_template_and_collisions_only():
    one, other = deployment(1), deployment(7)
    assert facts.template_hash(one) == facts.template_hash(other)
    assert facts.template_hash(one) != facts.template_hash(deployment(1, image="v2"))
    collided = {**one, "status": {"collisionCount": 1}}
    assert facts.template_hash(one) != facts.template_hash(collided)


def test_a_replica_set_made_from_the_template_is_found_again():
    goal = deployment(2)
    made = replica_set(goal, 2, 2)
    assert facts.HASH_LABEL in made["spec"]["selector"]["matchLabels"]
    assert facts.find_new(goal, [made]) is made
    assert facts.find_new(deployment(2, image="v2"), [made]) is None


def test_revisions_rise_and_remember_what_they_replaced():
    first = facts.with_revision({}, 1)
    again = facts.with_revision(first, 3)
    assert again == {facts.REVISION: "3", facts.REVISION_HISTORY: "1"}
    assert facts.with_revision(again, 2) == again


@settings(max_examples=150, deadline=None, print_blob=True)
@given(
    st.integers(0, 12),
    st.sampled_from([0, 1, 3, "25%", "100%"]),
    st.sampled_from([0, 1, 2, "25%", "100%"]),
    st.lists(st.integers(0, 12), min_size=1, max_size=3),
    st.data(),
)
def test_a_rollout_stays_within_its_bounds_and_ends(replicas, surge, unavailable, olds, data):
    goal = deployment(replicas, surge, unavailable, image="new")
    extra, missing = facts.surge_and_unavailable(goal)
    sets = []
    left = replicas
    for age, size in enumerate(olds):
        size = left if age == len(olds) - 1 else min(size, left)
        left -= size
        sets.append(replica_set(deployment(replicas, image=f"v{age}"), size, size, age=age))
    new = replica_set(goal, 0, 0, age=50)
    for _ in range(200):
        everyone = [new, *sets]
        available = sum(facts.counted(s, "availableReplicas") for s in everyone)
        assert rollout.total(everyone) <= max(replicas + extra, replicas)
        assert available >= replicas - missing
        if facts.wanted(new) == replicas and not rollout.total(sets):
            break
        size = rollout.new_set_size(goal, new, everyone)
        if size != facts.wanted(new):
            new["spec"]["replicas"] = size
        else:
            for item in sets:
                sizes = rollout.shrink_old(goal, new, sets)
                if name(item) in sizes:
                    item["spec"]["replicas"] = sizes[name(item)]
        for item in [new, *sets]:
            have, want = facts.counted(item, "availableReplicas"), facts.wanted(item)
            step = data.draw(st.integers(0, want - have)) if want > have else want - have
            item["status"]["availableReplicas"] = have + step
        if sets and facts.counted(new, "availableReplicas") < facts.wanted(new):
            new["status"]["availableReplicas"] += 1
    else:
        pytest.fail("the rollout did not end")


def test_status_counts_and_tells_of_availability():
    goal = deployment(4, unavailable=1)
    new = replica_set(goal, 4, 2)
    status = statuses.rollout_status(goal, [new], new, 1_800_000_000.0)
    assert status["unavailableReplicas"] == 2
    assert statuses.find(status, "Available")["reason"] == "MinimumReplicasUnavailable"
    assert statuses.find(status, "Progressing")["reason"] == "ReplicaSetUpdated"
    new["status"] |= {"availableReplicas": 4, "readyReplicas": 4}
    goal["status"] = status
    status = statuses.rollout_status(goal, [new], new, 1_800_000_001.0)
    progressing = statuses.find(status, "Progressing")
    assert progressing["reason"] == "NewReplicaSetAvailable"
    assert progressing["message"] == (f'ReplicaSet "{name(new)}" has successfully progressed.')
    assert statuses.is_complete(goal, status)
    assert statuses.recheck_in_s(goal, status, 1_800_000_001.0) is None


def test_no_progress_within_the_deadline_is_reported_once_and_ends_with_progress():
    goal = deployment(2, progressDeadlineSeconds=10)
    new = replica_set(goal, 2, 0)
    goal["status"] = statuses.rollout_status(goal, [new], new, 1000.0)
    assert statuses.recheck_in_s(goal, goal["status"], 1000.0) == 11.0
    late = statuses.rollout_status(goal, [new], new, 1011.0)
    condition = statuses.find(late, "Progressing")
    assert (condition["status"], condition["reason"]) == ("False", "ProgressDeadlineExceeded")
    goal["status"] = copy.deepcopy(late)
    assert statuses.rollout_status(goal, [new], new, 1020.0) == late
    new["status"]["availableReplicas"] = 1
    better = statuses.rollout_status(goal, [new], new, 1021.0)
    assert statuses.find(better, "Progressing")["reason"] == "ReplicaSetUpdated"


def test_a_failure_of_the_replica_set_shows_on_the_deployment():
    goal = deployment(1)
    new = replica_set(goal, 1, 0)
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
               "message": "quota"}  # fmt: skip
    new["status"]["conditions"] = [failure]
    goal["status"] = statuses.rollout_status(goal, [new], new, 1.0)
    assert statuses.find(goal["status"], "ReplicaFailure")["message"] == "quota"
    new["status"]["conditions"] = []
    assert statuses.find(statuses.rollout_status(goal, [new], new, 2.0), "ReplicaFailure") is None
