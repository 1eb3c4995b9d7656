from __future__ import annotations

import pytest

from cluster.controllers import daemonset_decision as daemons
from cluster.controllers import revisions
from cluster.controllers import statefulset_decision as stateful

NOW_S = 1_800_000_000.0


def make_pod(name, ready=True, label="", deleting=False, node="", phase="Running"):
    metadata = {
        "name": name,
        "namespace": "d",
        "uid": name,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {revisions.HASH: label},
    }
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    condition = {
        "type": "Ready",
        "status": str(ready),
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"phase": phase, "conditions": [condition]}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": status}


def make_node(name, taints=(), **labels):
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": list(taints)}}


def make_daemonset(spec=None, **more):
    return {"metadata": {"name": "a"}, "spec": {"template": {"spec": spec or {}}, **more}}


def names(pods):
    return [pod["metadata"]["name"] for pod in pods]


@pytest.mark.parametrize(
    ("key", "effect", "expected"),
    [
        ("node.kubernetes.io/not-ready", "NoExecute", (True, True)),
        ("node.kubernetes.io/unschedulable", "NoSchedule", (True, True)),
        ("mine", "NoSchedule", (False, True)),
        ("mine", "NoExecute", (False, False)),
        ("mine", "PreferNoSchedule", (True, True)),
    ],
)
def test_taints_keep_new_pods_off_and_remove_old_ones_by_effect(key, effect, expected):
    node = make_node("n", [{"key": key, "effect": effect}])
    assert daemons.should_run(make_daemonset(), node) == expected


def test_affinity_terms_are_alternatives_and_an_empty_one_matches_nothing():
    def with_terms(*terms):
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        return make_daemonset({"affinity": {"nodeAffinity": required}})

    zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}
    nodes = [make_node("n1", zone="a"), make_node("n2", zone="b"), make_node("n3", zone="c")]
    found = [daemons.should_run(with_terms(zone, named), node)[0] for node in nodes]
    assert found == [True, True, False]
    assert not daemons.should_run(with_terms({}), nodes[0])[0]


def test_a_replacing_update_takes_broken_pods_and_healthy_ones_up_to_the_limit():
    owner = make_daemonset(updateStrategy={"rollingUpdate": {"maxUnavailable": 2}})
    nodes = [make_node(f"n{n}") for n in range(4)]
    here = {f"n{n}": [make_pod(f"p{n}", ready=n != 3, label="old")] for n in range(4)}
    plan = daemons.update(owner, nodes, here, "new", NOW_S)
    assert names(plan.delete) == ["p3", "p0"]


def test_a_surging_update_removes_an_old_pod_only_when_the_new_one_is_available():
    owner = make_daemonset(updateStrategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    nodes = [make_node(f"n{n}") for n in range(2)]
    here = {f"n{n}": [make_pod(f"p{n}", label="old")] for n in range(2)}
    assert daemons.update(owner, nodes, here, "new", NOW_S).create == ["n0"]
    here["n0"].append(make_pod("q0", ready=False, label="new"))
    waiting = daemons.update(owner, nodes, here, "new", NOW_S)
    assert (waiting.create, waiting.delete) == ([], [])
    here["n0"][1] = make_pod("q0", label="new")
    assert names(daemons.update(owner, nodes, here, "new", NOW_S).delete) == ["p0"]


def test_a_daemon_pod_is_meant_for_one_node():
    template = daemons.template_for(make_daemonset(), "n7", "h")
    assert daemons.node_of(template) == "n7"


def make_stateful(replicas=3, policy="OrderedReady", rolling=None, **more):
    strategy = {"type": "RollingUpdate"} | ({} if rolling is None else {"rollingUpdate": rolling})
    spec = {"replicas": replicas, "podManagementPolicy": policy, "updateStrategy": strategy}
    return {"metadata": {"name": "db", "namespace": "d"}, "spec": {**spec, **more}}


def some(*pods):
    return dict(enumerate(pods))


def test_ordered_pods_wait_for_the_one_before():
    up = stateful.step(make_stateful(), {}, "new", NOW_S)
    assert up.create == [0]
    waits = stateful.step(make_stateful(), some(make_pod("db-0", ready=False)), "new", NOW_S)
    assert (waits.create, waits.delete) == ([], [])
    parallel = stateful.step(make_stateful(policy="Parallel"), {}, "new", NOW_S)
    assert parallel.create == [0, 1, 2]


def test_the_highest_pod_goes_first_and_the_next_when_it_is_gone():
    healthy = some(*(make_pod(f"db-{n}", label="new") for n in range(3)))
    assert names(stateful.step(make_stateful(1), healthy, "new", NOW_S).delete) == ["db-2"]
    healthy[1] = make_pod("db-1", ready=False, label="new")
    assert names(stateful.step(make_stateful(1), healthy, "new", NOW_S).delete) == ["db-2"]
    healthy[2] = make_pod("db-2", deleting=True, label="new")
    assert stateful.step(make_stateful(1), healthy, "new", NOW_S).delete == []


def test_an_update_is_one_at_a_time_from_the_top_to_the_partition():
    pods = some(*(make_pod(f"db-{n}", label="old") for n in range(3)))
    owner = make_stateful(rolling={"partition": 2})
    assert names(stateful.step(owner, pods, "new", NOW_S).delete) == ["db-2"]
    pods[2] = make_pod("db-2", label="new")
    assert stateful.step(owner, pods, "new", NOW_S).delete == []
    assert names(stateful.step(make_stateful(), pods, "new", NOW_S).delete) == ["db-1"]


def test_several_pods_are_updated_at_once_up_to_max_unavailable():
    pods = some(*(make_pod(f"db-{n}", label="old") for n in range(5)))
    owner = make_stateful(5, rolling={"maxUnavailable": 2})
    assert names(stateful.step(owner, pods, "new", NOW_S).delete) == ["db-4", "db-3"]


def test_broken_pods_of_a_parallel_set_do_not_stop_their_own_update():
    pods = some(*(make_pod(f"db-{n}", ready=False, label="old") for n in range(3)))
    one = make_stateful(policy="Parallel")
    assert names(stateful.step(one, pods, "new", NOW_S).delete) == ["db-2"]
    two = make_stateful(policy="Parallel", rolling={"maxUnavailable": 2})
    assert names(stateful.step(two, pods, "new", NOW_S).delete) == ["db-2", "db-1", "db-0"]


def test_an_ended_pod_is_removed_to_be_made_again():
    pods = some(make_pod("db-0", phase="Failed"))
    assert names(stateful.step(make_stateful(1), pods, "new", NOW_S).delete) == ["db-0"]


@pytest.mark.parametrize(
    ("deleted", "scaled", "inside", "outside"),
    [
        ("Retain", "Retain", None, None),
        ("Delete", "Retain", "set", "set"),
        ("Retain", "Delete", None, "pod"),
        ("Delete", "Delete", "set", "pod"),
    ],
)
def test_claims_go_with_the_set_or_with_a_pod_scaled_away(deleted, scaled, inside, outside):
    policy = {"whenDeleted": deleted, "whenScaled": scaled}
    owner = make_stateful(2, persistentVolumeClaimRetentionPolicy=policy)
    pod = make_pod("db-2")
    by_name = {None: None, "set": owner, "pod": pod}
    assert stateful.claim_owner(owner, 1, pod) is by_name[inside]
    assert stateful.claim_owner(owner, 2, pod) is by_name[outside]


def test_old_revisions_beyond_the_limit_go_but_none_that_pods_have():
    owner = {"spec": {"revisionHistoryLimit": 1}}
    every = [{"metadata": {"name": f"r{n}"}, "revision": n} for n in range(5)]
    assert names(revisions.surplus(owner, every, {"r0", "r4"})) == ["r1", "r2"]
