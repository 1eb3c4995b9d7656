"""The pure parts of the controllers."""

from __future__ import annotations

import pytest

from actors.seams.clock import SystemClock
from cluster.controllers import endpoints, endpointslice, manager, pods, taints
from cluster.controllers.expectations import TIMEOUT_S, Expectations
from cluster.controllers.namespace import Progress, conditions
from cluster.controllers.ownership_graph import Node, OwnershipGraph
from cluster.controllers.replicaset_status import status_of
from cluster.machinery import meta, resources

NOW_S = meta.parse_time("2026-01-02T00:00:00Z")


def pod(name, *, node="n1", phase="Running", ready=True, age_s=3600, ready_for_s=3600, **more):
    conditions = [
        {
            "type": "Ready",
            "status": "True" if ready else "False",
            "lastTransitionTime": meta.format_time(NOW_S - ready_for_s),
        }
    ]
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": f"uid-{name}",
        "labels": {"app": "x"},
        "creationTimestamp": meta.format_time(NOW_S - age_s),
    } | more.pop("metadata", {})
    status = {"phase": phase, "conditions": conditions, "podIP": f"127.1.0.{len(name) + 9}"}
    status |= more.pop("status", {})
    ports = [{"name": "web", "containerPort": 8080}]
    spec = {"nodeName": node, "containers": [{"name": "c", "ports": ports}]} | more.pop("spec", {})
    return {"metadata": metadata, "spec": spec, "status": status}


def cheapest(*candidates, related=()):
    chosen = pods.to_delete(candidates, related or candidates, 1, NOW_S)
    return chosen[0]["metadata"]["name"]


COST = {"annotations": {pods.DELETION_COST: "-5"}}
RESTARTED = {"containerStatuses": [{"restartCount": 3}]}


@pytest.mark.parametrize(
    ("victim", "other"),
    [
        (pod("a", node=""), pod("b", phase="Pending", ready=False)),
        (pod("a", phase="Pending"), pod("b", phase="Unknown")),
        (pod("a", ready=False), pod("b", metadata=COST)),
        (pod("a", metadata=COST), pod("b")),
        (pod("a", ready_for_s=10), pod("b", ready_for_s=1000)),
        (pod("a", status=RESTARTED), pod("b")),
        (pod("a", age_s=10, ready_for_s=5), pod("b", age_s=5000, ready_for_s=5)),
    ],
)
def test_the_cheapest_pod_is_deleted_first(victim, other):
    other["metadata"]["uid"] = "uid-0"
    assert cheapest(other, victim) == cheapest(victim, other) == "a"


def test_a_pod_on_a_crowded_node_is_deleted_before_a_lonely_one():
    crowd = [pod("a", node="n1"), pod("b", node="n1"), pod("c", node="n2")]
    assert cheapest(pod("c", node="n2"), pod("a", node="n1"), related=crowd) == "a"


def test_availability_needs_time():
    young = pod("a", ready_for_s=5)
    assert pods.is_available(young, 0, NOW_S)
    assert not pods.is_available(young, 10, NOW_S)
    assert pods.available_in_s(young, 10, NOW_S) == 5
    assert pods.available_in_s(pod("b", ready=False), 10, NOW_S) is None


def test_replica_set_status_counts_what_is_ready_available_and_fully_labelled():
    owner = {
        "metadata": {"generation": 3},
        "spec": {
            "replicas": 3,
            "minReadySeconds": 10,
            "template": {"metadata": {"labels": {"app": "x"}}},
        },
    }
    members = [pod("a"), pod("bb", ready_for_s=1), pod("c", ready=False, metadata={"labels": {}})]
    assert status_of(owner, members, None, NOW_S) == {
        "replicas": 3,
        "fullyLabeledReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "observedGeneration": 3,
    }
    failed = status_of(owner, [], RuntimeError("no room"), NOW_S)
    assert failed["conditions"][0]["reason"] == "FailedCreate"
    assert "conditions" not in status_of({**owner, "status": failed}, members, None, NOW_S)


class Clock:
    time_s = 0.0

    def now(self):
        return self.time_s


def test_what_is_let_go_before_it_is_seen_is_expected_no_more():
    """A pod shows its name and uid even when it has no controller any more, or another one."""
    expected = Expectations(SystemClock())
    expected.expect_creations("ns/web", {"web-0"})
    expected.expect_deletions("ns/web", {"uid-1"})
    expected.appeared("other", "web-0")
    expected.vanished("uid-2")
    assert not expected.satisfied("ns/web")
    expected.appeared("ns", "web-0")
    expected.vanished("uid-1")
    assert expected.satisfied("ns/web")
    expected.expect_creations("ns/web", {"web-1"})
    expected.forget("ns/web")
    expected.appeared("ns", "web-1")
    assert expected.satisfied("ns/web")


def test_expectations_hold_until_met_or_too_old():
    clock = Clock()
    expected = Expectations(clock)
    expected.expect_creations("k", {"a", "b"})
    expected.created("k", "a")
    assert not expected.satisfied("k")
    expected.created("k", "b")
    assert expected.satisfied("k")
    expected.expect_deletions("k", {"u"})
    clock.time_s = TIMEOUT_S + 1
    assert expected.satisfied("k")


def service(**spec):
    ports = [{"port": 80, "targetPort": "web", "name": "http"}]
    metadata = {"name": "s", "namespace": "ns", "uid": "su", "labels": {"l": "1"}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": "x"}, "ports": ports, **spec},
    }


def test_endpoints_part_ready_from_not_ready_and_resolve_named_ports():
    members = [pod("a"), pod("bb", ready=False)]
    subset = endpoints.wanted(service(), members)["subsets"]
    assert [a["targetRef"]["name"] for a in subset[0]["addresses"]] == ["a"]
    assert [a["targetRef"]["name"] for a in subset[0]["notReadyAddresses"]] == ["bb"]
    assert subset[0]["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]


def test_not_ready_pods_are_published_where_the_service_asks_for_them():
    members = [pod("bb", ready=False)]
    subset = endpoints.wanted(service(publishNotReadyAddresses=True), members)["subsets"]
    assert [a["targetRef"]["name"] for a in subset[0]["addresses"]] == ["bb"]


def test_a_pod_without_the_named_port_is_behind_no_port():
    other = pod("a", spec={"containers": [{"name": "c"}]})
    assert endpoints.wanted(service(), [other])["subsets"] == []
    slices = endpointslice.wanted(service(), [other], {})
    assert [s["endpoints"] for s in slices] == [[]]


def test_terminating_pods_stay_in_slices_but_not_in_endpoints():
    leaving = pod("a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert endpoints.wanted(service(), [leaving])["subsets"] == []
    found = endpointslice.wanted(service(), [leaving], {})[0]["endpoints"][0]
    assert found["conditions"] == {"ready": False, "serving": True, "terminating": True}


def test_slices_hold_a_hundred_and_endpoints_stay_where_they_are():
    members = [pod(f"p{n:03d}") for n in range(250)]
    first = endpointslice.wanted(service(), members, {})
    assert [len(s["endpoints"]) for s in first] == [100, 100, 50]
    current = {s["metadata"]["name"]: s for s in first}
    second = endpointslice.wanted(service(), members[1:], current)
    assert [len(s["endpoints"]) for s in second] == [100, 100, 49] or [
        len(s["endpoints"]) for s in second
    ] == [99, 100, 50]
    assert second[1] == first[1]


def test_a_slice_names_its_service_and_manager():
    made = endpointslice.wanted(service(clusterIP="None"), [pod("a")], {})[0]
    assert made["metadata"]["labels"] == {
        "l": "1",
        "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "service.kubernetes.io/headless": "",
    }
    assert made["metadata"]["ownerReferences"][0]["uid"] == "su"


# Taints


def tainted(effect="NoExecute", key=taints.UNREACHABLE, since_s=NOW_S):
    return {"key": key, "effect": effect, "timeAdded": meta.format_time(since_s)}


def test_an_unreachable_node_gets_both_taints_and_loses_them_when_it_is_back():
    node = {"spec": {"taints": [{"key": "own", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}  # fmt: skip
    marked = taints.wanted(node, NOW_S)
    assert [(t["key"], t["effect"]) for t in marked] == [
        ("own", "NoSchedule"),
        (taints.UNREACHABLE, "NoExecute"),
        (taints.UNREACHABLE, "NoSchedule"),
    ]
    node["spec"]["taints"] = marked
    assert taints.wanted(node, NOW_S + 9) == marked
    node["status"]["conditions"][0]["status"] = "True"
    assert [t["key"] for t in taints.wanted(node, NOW_S)] == ["own"]


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], NOW_S),
        ([{"operator": "Exists"}], None),
        ([{"key": taints.UNREACHABLE, "operator": "Exists", "tolerationSeconds": 30}], NOW_S + 30),
        ([{"key": taints.NOT_READY, "operator": "Exists"}], NOW_S),
        ([{"key": taints.UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}], NOW_S),
    ],
)
def test_eviction_waits_as_long_as_the_toleration_says(tolerations, expected):
    item = {"spec": {"tolerations": tolerations}}
    assert taints.evict_at_s(item, [tainted()], NOW_S, None) == expected


def test_the_configured_limit_shortens_a_toleration():
    toleration = {"key": taints.UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}
    item = {"spec": {"tolerations": [toleration]}}
    assert taints.evict_at_s(item, [tainted()], NOW_S, 5.0) == NOW_S + 5


# Ownership


def node_of(uid, owners=(), finalizers=(), deleting=False, blocking=True):
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": o, "uid": o,
         "blockOwnerDeletion": blocking} for o in owners
    ]  # fmt: skip
    metadata = {"uid": uid, "name": uid, "namespace": "ns", "ownerReferences": references,
                "finalizers": list(finalizers)}  # fmt: skip
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return Node.of(resources.find("configmaps"), {"metadata": metadata})


def test_removing_an_owner_leads_to_its_dependents():
    graph = OwnershipGraph()
    assert graph.put(node_of("owner")) == set()
    assert graph.put(node_of("child", ["owner"])) == set()
    assert graph.remove("owner") == {"child"}


def test_a_child_whose_owner_is_not_known_is_looked_at():
    graph = OwnershipGraph()
    assert graph.put(node_of("child", ["ghost"])) == {"child"}


def test_foreground_deletion_leads_to_the_dependents_and_back():
    graph = OwnershipGraph()
    graph.put(node_of("owner"))
    graph.put(node_of("child", ["owner"]))
    ending = node_of("owner", finalizers=["foregroundDeletion"], deleting=True)
    assert graph.put(ending) == {"owner", "child"}
    assert graph.remove("child") == {"owner"}
    assert graph.dependents("owner") == []


def test_a_child_that_changes_owners_is_no_dependent_of_the_old_one():
    graph = OwnershipGraph()
    for uid in ("one", "two"):
        graph.put(node_of(uid))
    graph.put(node_of("child", ["one"]))
    graph.put(node_of("child", ["two"], blocking=False))
    assert graph.dependents("one") == []
    assert not graph.dependents("two")[0].blocks("two")


def test_namespace_conditions_say_what_remains():
    found = {c["type"]: c for c in conditions(Progress(remaining={"pods": 2}))}
    remaining = found["NamespaceContentRemaining"]
    assert (remaining["status"], remaining["reason"]) == ("True", "SomeResourcesRemain")
    assert remaining["message"] == ("Some resources are remaining: pods has 2 resource instances")
    assert found["NamespaceDeletionDiscoveryFailure"]["status"] == "False"


def test_controllers_are_chosen_by_name():
    every = [kind.name for kind in manager.chosen(["*"])]
    assert len(every) == len(manager.CONTROLLERS) - len(manager.OFF_BY_DEFAULT)
    assert "endpoints" not in [k.name for k in manager.chosen(["*", "-endpoints"])]
    assert [k.name for k in manager.chosen(["namespace"])] == ["namespace"]
    with pytest.raises(ValueError, match="nonsense"):
        manager.chosen(["nonsense"])
