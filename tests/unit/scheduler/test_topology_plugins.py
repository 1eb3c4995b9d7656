"""Spreading and pod affinity in plain cases, each of which one rule decides."""

from __future__ import annotations

from scheduling_objects import HOST, ZONE, best_nodes, decide, feasible_nodes, node, pod, term

NODES = [node(f"n{i}", labels={HOST: f"n{i}", ZONE: f"z{i % 2}"}) for i in range(4)]


def spread(skew=1, key=ZONE, app="a", when="DoNotSchedule", **more):
    selector = {"matchLabels": {"app": app}}
    constraint = {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when}
    return [constraint | {"labelSelector": selector} | more]


def on(*names, app="a", **more):
    found = [pod(f"on-{i}-{n}", labels={"app": app}, **more) for i, n in enumerate(names)]
    return list(zip(names, found, strict=True))


def spreading(app="a", **given):
    return pod(labels={"app": app}, topologySpreadConstraints=spread(**given))


def required(kind, *terms, app="a", **more):
    affinity = {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [*terms]}}
    return pod(labels={"app": app}, affinity=affinity, **more)


def test_the_emptier_zone_takes_the_next_pod():
    assert feasible_nodes(NODES, spreading(), on("n0")) == {"n1", "n3"}
    assert feasible_nodes(NODES, spreading(skew=2), on("n0")) == {"n0", "n1", "n2", "n3"}


def test_a_pod_that_its_own_constraint_does_not_mean_adds_nothing_to_the_skew():
    stranger = pod(labels={"app": "b"}, topologySpreadConstraints=spread())
    assert feasible_nodes(NODES, stranger, on("n0")) == {"n0", "n1", "n2", "n3"}
    assert feasible_nodes(NODES, stranger, on("n0", "n2")) == {"n1", "n3"}


def test_with_fewer_domains_than_asked_for_the_least_is_none():
    found = feasible_nodes(NODES, spreading(minDomains=3), on("n0", "n1"))
    assert found == set()
    assert feasible_nodes(NODES, spreading(minDomains=2), on("n0", "n1")) != set()


def test_pods_that_are_being_deleted_or_of_other_namespaces_do_not_count():
    going = on("n0")
    going[0][1]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert feasible_nodes(NODES, spreading(), going) == {"n0", "n1", "n2", "n3"}
    elsewhere = on("n0", namespace="other")
    assert feasible_nodes(NODES, spreading(), elsewhere) == {"n0", "n1", "n2", "n3"}


def test_nodes_that_the_pod_cannot_use_count_as_the_policies_say():
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    nodes = [*NODES[:2], node("t", labels={HOST: "t", ZONE: "z9"}, taints=[taint])]
    placed = on("n0", "n1")
    assert feasible_nodes(nodes, spreading(), placed) == set()
    honoring = spreading(nodeTaintsPolicy="Honor")
    assert feasible_nodes(nodes, honoring, placed) == {"n0", "n1"}
    selecting = {**spreading(nodeAffinityPolicy="Ignore")}
    selecting["spec"]["nodeSelector"] = {ZONE: "z0"}
    assert feasible_nodes(NODES, selecting, on("n0")) == set()
    selecting["spec"]["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = "Honor"
    assert feasible_nodes(NODES, selecting, on("n0")) == {"n0", "n2"}


def test_only_pods_of_the_same_revision_count_with_match_label_keys():
    item = spreading(matchLabelKeys=["hash"])
    item["metadata"]["labels"]["hash"] = "new"
    assert feasible_nodes(NODES, item, on("n0")) == {"n0", "n1", "n2", "n3"}


def test_a_node_without_the_label_is_told_so():
    message = decide([node("bare", labels={})], spreading()).message
    assert "1 node(s) didn't match pod topology spread constraints (missing required label)" in (
        message
    )


def test_pods_of_a_service_are_spread_over_zones_and_hosts_by_default():
    service = {"metadata": {"name": "s", "namespace": "ns"}, "spec": {"selector": {"app": "a"}}}
    item = pod(labels={"app": "a"})
    assert "n0" not in best_nodes(NODES, item, on("n0"), services=[service])
    controller = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "controller": True}
    item["metadata"]["ownerReferences"] = [controller]
    owner = {
        "kind": "ReplicaSet",
        "metadata": {"name": "r", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}},
    }
    assert "n0" not in best_nodes(NODES, item, on("n0"), replicasets__apps=[owner])


def test_the_first_pod_of_a_group_that_wants_to_be_together_goes_anywhere():
    item = required("podAffinity", term("a"))
    assert feasible_nodes(NODES, item) == {"n0", "n1", "n2", "n3"}
    assert feasible_nodes(NODES, item, on("n1")) == {"n1", "n3"}
    assert feasible_nodes(NODES, required("podAffinity", term("b"))) == set()


def test_anti_affinity_counts_in_both_directions():
    shy = required("podAntiAffinity", term("a", HOST), app="shy")
    assert feasible_nodes(NODES, shy, on("n1")) == {"n0", "n2", "n3"}
    placed = [("n1", shy)]
    assert feasible_nodes(NODES, pod("q", labels={"app": "a"}), placed) == {"n0", "n2", "n3"}
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in (
        decide(NODES[1:2], pod("q", labels={"app": "a"}), placed).message
    )


def test_a_namespace_selector_reaches_pods_of_the_namespaces_that_it_selects():
    item = required("podAffinity", term("a", namespaceSelector={"matchLabels": {"team": "red"}}))
    placed = on("n1", namespace="other")
    red, blue = {"other": {"team": "red"}}, {"other": {"team": "blue"}}
    assert feasible_nodes(NODES, item, placed, namespaces=red) == {"n1", "n3"}
    assert feasible_nodes(NODES, item, placed, namespaces=blue) == set()
