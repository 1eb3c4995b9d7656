"""Volumes decide where a pod fits: zones, limits, single users, and volumes still to be bound."""

from __future__ import annotations

import pytest
from scheduling_objects import HOST, ZONE, best_nodes, columns_of, decide, feasible_nodes, node, pod

from cluster.scheduler.framework.effects import Unbindable
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.volume_binding import VolumeBinding

BOUND = {"pv.kubernetes.io/bind-completed": "yes"}


def claim(name, volume="", storage_class="fast", size="1Gi", modes=("ReadWriteOnce",), **marks):
    annotations = {**(BOUND if volume else {}), **marks}
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": "1"}
    spec = {
        "storageClassName": storage_class,
        "accessModes": [*modes],
        "resources": {"requests": {"storage": size}},
    }
    if volume:
        spec["volumeName"] = volume
    return {"metadata": metadata | {"annotations": annotations}, "spec": spec, "status": {}}


def volume(name, on=None, labels=None, size="1Gi", **spec):
    if on:
        expression = {"key": HOST, "operator": "In", "values": [on]}
        terms = [{"matchExpressions": [expression]}]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    spec |= {
        "storageClassName": "fast",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": size},
    }
    metadata = {"name": name, "labels": labels or {}, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Available"}}


def storage_class(provisioner="kubernetes.io/no-provisioner", late=True, **more):
    mode = "WaitForFirstConsumer" if late else "Immediate"
    named = {"metadata": {"name": "fast"}, "provisioner": provisioner}
    return named | {"volumeBindingMode": mode} | more


def user(*claims, name="p", **spec):
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    return pod(name, volumes=volumes, **spec)


NODES = [node(f"n{i}", labels={HOST: f"n{i}", ZONE: f"z{i % 2}"}) for i in range(4)]


def world(claims=(), volumes=(), classes=(), **more):
    return {
        "persistentvolumeclaims": claims,
        "persistentvolumes": volumes,
        "storageclasses__storage__k8s__io": classes,
        **more,
    }


def refusal(item, placed=(), **catalog):
    return decide(NODES, item, placed, **catalog).message.partition(" preemption")[0]


def test_a_bound_volume_keeps_its_pod_where_the_volume_is():
    found = world([claim("c", "v")], [volume("v", on="n2")])
    assert best_nodes(NODES, user("c"), **found) == {"n2"}


def test_claims_that_are_missing_or_not_bound_yet_hold_the_pod_back():
    head = "0/4 nodes are available: "
    assert refusal(user("c")) == f'{head}persistentvolumeclaim "c" not found.'
    found = world([claim("c")], classes=[storage_class(late=False)])
    assert refusal(user("c"), **found) == f"{head}pod has unbound immediate PersistentVolumeClaims."
    gone = "4 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
    assert refusal(user("c"), **world([claim("c", "v")])) == f"{head}{gone}."


def test_a_waiting_claim_chooses_among_the_volumes_that_nodes_can_reach():
    volumes = [volume("a", on="n1"), volume("b", on="n3"), volume("small", on="n0", size="1Mi")]
    found = world([claim("c")], volumes, [storage_class()])
    assert best_nodes(NODES, user("c"), **found) == {"n1", "n3"}


def test_two_claims_never_choose_the_same_volume():
    volumes = [volume("a", on="n1"), volume("b", on="n3"), volume("d", on="n3")]
    found = world([claim("c"), claim("d")], volumes, [storage_class()])
    assert best_nodes(NODES, user("c", "d"), **found) == {"n3"}
    columns = columns_of(NODES, **found)
    VolumeBinding().reserve(columns, PodInfo.of(user("c", "d")), "n3")
    owners = {
        v["metadata"]["name"]: v["spec"]["claimRef"]["name"]
        for v in columns.catalog.assumed("persistentvolumes")
    }
    assert owners == {"b": "c", "d": "d"}


def test_a_volume_that_is_reserved_for_one_pod_is_not_given_to_the_next():
    found = world([claim("c"), claim("d")], [volume("a", on="n1")], [storage_class()])
    columns, plugin = columns_of(NODES, **found), VolumeBinding()
    first, second = PodInfo.of(user("c")), PodInfo.of(user("d", name="q"))
    plugin.reserve(columns, first, "n1")
    with pytest.raises(Unbindable):
        plugin.reserve(columns, second, "n1")
    plugin.unreserve(columns, first, "n1")
    plugin.reserve(columns, second, "n1")


def test_a_volume_that_can_be_made_needs_an_allowed_topology_and_room():
    topology = {"matchLabelExpressions": [{"key": ZONE, "values": ["z1"]}]}
    class_ = storage_class("csi.example.com", allowedTopologies=[topology])
    driver = {"metadata": {"name": "csi.example.com"}, "spec": {"storageCapacity": True}}
    capacity = {
        "metadata": {"name": "x", "namespace": "kube-system"},
        "storageClassName": "fast",
        "capacity": "5Gi",
        "nodeTopology": {"matchLabels": {HOST: "n3"}},
    }
    found = world([claim("c")], classes=[class_])
    assert best_nodes(NODES, user("c"), **found) == {"n1", "n3"}
    found |= {"csidrivers__storage__k8s__io": [driver]}
    found |= {"csistoragecapacities__storage__k8s__io": [capacity]}
    assert best_nodes(NODES, user("c"), **found) == {"n3"}
    found["persistentvolumeclaims"] = [claim("c", size="6Gi")]
    assert refusal(user("c"), **found) == (
        "0/4 nodes are available: 2 node(s) did not have enough free storage, "
        "2 node(s) didn't find available persistent volumes to bind."
    )


def test_a_claim_that_was_promised_a_node_stays_with_it():
    promised = claim("c", **{"volume.kubernetes.io/selected-node": "n1"})
    found = world([promised], classes=[storage_class("csi.example.com")])
    assert best_nodes(NODES, user("c"), **found) == {"n1"}


def test_a_zonal_volume_is_used_in_its_zone():
    zonal = volume("v", labels={ZONE: "z1__z9"})
    found = world([claim("c", "v")], [zonal])
    assert best_nodes(NODES, user("c"), **found) == {"n1", "n3"}
    old = volume("v", labels={"failure-domain.beta.kubernetes.io/zone": "z0"})
    assert best_nodes(NODES, user("c"), **world([claim("c", "v")], [old])) == {"n0", "n2"}
    bare = [node("bare", labels={HOST: "bare"})]
    assert best_nodes(bare, user("c"), **found) == {"bare"}


def test_a_claim_for_a_single_pod_is_refused_to_a_second_one_anywhere():
    found = world([claim("c", "v", modes=["ReadWriteOncePod"])], [volume("v")])
    placed = [("n0", user("c", name="other"))]
    assert refusal(user("c"), placed, **found) == (
        "0/4 nodes are available: 4 node has pod using PersistentVolumeClaim with the same name"
        " and ReadWriteOncePod access mode."
    )


def test_a_disk_that_cannot_be_shared_keeps_pods_apart():
    def disk(name, read_only):
        given = {"pdName": "d", "readOnly": read_only}
        return pod(name, volumes=[{"name": "d", "gcePersistentDisk": given}])

    placed = [("n0", disk("a", False)), ("n1", disk("b", True))]
    assert feasible_nodes(NODES, disk("p", True), placed) == {"n1", "n2", "n3"}
    assert feasible_nodes(NODES, disk("p", False), placed) == {"n2", "n3"}


def test_a_driver_attaches_no_more_volumes_than_its_node_allows():
    claims = [claim(f"c{i}", f"v{i}") for i in range(3)]
    volumes = [
        volume(f"v{i}", csi={"driver": "csi.example.com", "volumeHandle": f"h{i}"})
        for i in range(3)
    ]
    limits = [
        {
            "metadata": {"name": f"n{i}"},
            "spec": {"drivers": [{"name": "csi.example.com", "allocatable": {"count": 2}}]},
        }
        for i in (0, 1)
    ]
    found = world(claims, volumes, csinodes__storage__k8s__io=limits)
    placed = [("n0", user("c0", name="a")), ("n0", user("c1", name="b"))]
    placed += [("n1", user("c1", name="c")), ("n1", user("c1", name="d"))]
    assert best_nodes(NODES[:2], user("c2"), placed, **found) == {"n1"}
    assert best_nodes(NODES[:1], user("c1"), placed, **found) == {"n0"}
    message = decide(NODES[:1], user("c2"), placed, **found).message
    assert message.startswith("0/1 nodes are available: 1 node(s) exceed max volume count.")
