"""Nodes, resources and messages: what a cycle decides in plain cases."""

from __future__ import annotations

from scheduling_objects import best_nodes, columns_of, decide, node, pod

from cluster.scheduler.columns import View
from cluster.scheduler.model.pod_info import PodInfo


def test_the_emptier_node_is_chosen():
    busy = pod("busy", {"cpu": "2", "memory": "4Gi"})
    assert best_nodes([node("a"), node("b")], pod(requests={"cpu": "1"}), [("a", busy)]) == {"b"}


def test_equally_good_nodes_are_all_named():
    assert best_nodes([node("a"), node("b")], pod()) == {"a", "b"}


def test_the_message_counts_reasons_as_upstream_words_them():
    taint = {"key": "node-role", "value": "", "effect": "NoSchedule"}
    nodes = [node("a", taints=[taint]), node("b", cpu=500), node("c", cpu=1500)]
    placed = [("c", pod("x", {"cpu": "1"}))]
    result = decide(nodes, pod(requests={"cpu": "1"}), placed)
    assert result.message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role: }, "
        "2 Insufficient cpu. preemption: 0/3 nodes are available: 1 No preemption victims found "
        "for incoming pod, 2 Preemption is not helpful for scheduling."
    )


def test_without_nodes_the_message_says_so():
    assert decide([], pod()).message == "no nodes available to schedule pods"


def test_one_node_can_lack_several_resources():
    result = decide([node("a", cpu=1, memory=1)], pod(requests={"cpu": "1", "memory": "1Gi"}))
    assert result.diagnosis.reasons == ({"Insufficient cpu": 1, "Insufficient memory": 1})


def test_an_init_container_counts_when_it_needs_more_than_the_rest():
    item = pod(requests={"cpu": "1"})
    item["spec"]["initContainers"] = [{"name": "i", "resources": {"requests": {"cpu": "3"}}}]
    assert PodInfo.of(item).requests == {"cpu": 3000}
    item["spec"]["initContainers"].insert(
        0, {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}}
    )
    assert PodInfo.of(item).requests == {"cpu": 5000}


def test_a_node_that_is_registered_again_keeps_the_pods_that_run_on_it():
    columns = columns_of([node("a"), node("b")], [("a", pod("x", {"cpu": "3"}))])
    columns.remove_node("a")
    columns.put_node(node("a"))
    assert View(columns).requested("cpu")[columns.rows["a"]] == 3000
    assert View(columns).requested("cpu")[columns.rows["b"]] == 0


def test_telling_of_a_pod_twice_or_elsewhere_accounts_it_once():
    columns = columns_of([node("a"), node("b")])
    request = PodInfo.of(pod("x", {"cpu": "1"}))
    for where in ("a", "a", "b"):
        columns.put_pod(where, request)
    assert [int(n) for n in View(columns).requested("cpu")] == [0, 1000]
    assert columns.remove_pod(request.uid)
    assert not View(columns).requested("cpu").any()
    assert not columns.remove_pod(request.uid)


def test_preferred_affinity_outweighs_emptiness():
    preference = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    affinity = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 10, "preference": preference}
            ]
        }
    }
    nodes = [node("a"), node("b", labels={"disk": "ssd"})]
    placed = [("b", pod("x", {"cpu": "1"}))]
    assert best_nodes(nodes, pod(affinity=affinity), placed) == {"b"}
