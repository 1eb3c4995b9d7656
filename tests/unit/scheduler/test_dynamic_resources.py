"""Devices: which nodes can satisfy a pod's claims, and what the claims get."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling_objects import columns_of, decide, feasible_nodes, node, pod

from cluster.scheduler.devices.allocation import Search
from cluster.scheduler.devices.pools import devices
from cluster.scheduler.framework.effects import Unbindable
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.dynamic_resources import DynamicResources

DRIVER = "gpu.example.com"
NODES = [node("n0"), node("n1"), node("n2")]
CLASS = {
    "metadata": {"name": "gpu"},
    "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]},
}


def device(name, model="a", memory="40Gi", **more):
    attributes = {"model": {"string": model}, "index": {"int": 1}, "firmware": {"version": "1.2.3"}}
    return {
        "name": name,
        "attributes": attributes,
        "capacity": {"memory": {"value": memory}},
        **more,
    }


def slice_of(where, *found, pool=None, generation=1, count=1, **place):
    pool = pool or where
    name = f"{pool}-{generation}-{len(found)}"
    spec = {
        "driver": DRIVER,
        "pool": {"name": pool, "generation": generation, "resourceSliceCount": count},
        "devices": [*found],
        **(place or {"nodeName": where}),
    }
    return {"metadata": {"name": name}, "spec": spec}


def request(name="r", count=1, *expressions, **more):
    exactly = {
        "deviceClassName": "gpu",
        "allocationMode": "ExactCount",
        "count": count,
        "selectors": [{"cel": {"expression": each}} for each in expressions],
        **more,
    }
    return {"name": name, "exactly": exactly}


def claim(name, *requests, constraints=(), **status):
    return {
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}"},
        "spec": {"devices": {"requests": [*requests], "constraints": [*constraints]}},
        "status": status,
    }


def user(*claims, name="p"):
    return pod(name, resourceClaims=[{"name": c, "resourceClaimName": c} for c in claims])


def world(claims, slices, classes=(CLASS,)):
    return {
        "resourceclaims__resource__k8s__io": claims,
        "resourceslices__resource__k8s__io": slices,
        "deviceclasses__resource__k8s__io": classes,
    }


SLICES = [
    slice_of("n0", device("d0"), device("d1", "b")),
    slice_of("n1", device("d0", memory="80Gi")),
]


def test_a_pod_goes_where_its_devices_are():
    assert feasible_nodes(NODES, user("c"), **world([claim("c", request())], SLICES)) == {
        "n0",
        "n1",
    }
    two = world([claim("c", request(count=2))], SLICES)
    assert feasible_nodes(NODES, user("c"), **two) == {"n0"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f'device.attributes["{DRIVER}"].model == "b"', {"n0"}),
        (f'device.capacity["{DRIVER}"].memory.compareTo(quantity("64Gi")) > 0', {"n1"}),
        (f'device.attributes["{DRIVER}"].firmware.isGreaterThan(semver("2.0.0"))', set()),
        ('"x" in device.attributes["other.example.com"]', set()),
        ('device.attributes["other.example.com"].x == 1', set()),
    ],
)
def test_expressions_select_devices(expression, expected):
    found = world([claim("c", request("r", 1, expression))], SLICES)
    assert feasible_nodes(NODES, user("c"), **found) == expected


def test_what_is_missing_is_told():
    def told(**found):
        return decide(NODES, user("c"), **found).message.partition(" preemption")[0]

    head = "0/3 nodes are available: "
    assert told() == f'{head}resourceclaim "c" not found.'
    found = world([claim("c", request())], SLICES, ())
    assert told(**found) == f"{head}device class gpu does not exist."
    found = world([claim("c", request(count=5))], SLICES)
    assert told(**found) == f"{head}3 cannot allocate all claims."


def test_devices_that_other_claims_have_are_taken_unless_for_administration():
    result = {"request": "r", "driver": DRIVER, "pool": "n1", "device": "d0"}
    taken = claim("other", request(), allocation={"devices": {"results": [result]}})
    found = world([claim("c", request()), taken], SLICES)
    assert feasible_nodes(NODES, user("c"), **found) == {"n0"}
    watching = world([claim("c", request(adminAccess=True)), taken], SLICES)
    assert feasible_nodes(NODES, user("c"), **watching) == {"n0", "n1"}


def test_an_allocated_claim_keeps_its_users_where_it_is():
    field = {"key": "metadata.name", "operator": "In", "values": ["n2"]}
    selector = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    mine = claim("c", request(), allocation={"nodeSelector": selector, "devices": {}})
    assert feasible_nodes(NODES, user("c"), **world([mine], SLICES)) == {"n2"}


def test_devices_must_agree_where_a_constraint_says_so():
    same = [{"matchAttribute": f"{DRIVER}/model"}]
    slices = [
        slice_of("n0", device("d0", "a"), device("d1", "b"), device("d2", "b")),
        slice_of("n1", device("d0", "a"), device("d1", "b")),
    ]
    found = world([claim("c", request(count=2), constraints=same)], slices)
    assert feasible_nodes(NODES, user("c"), **found) == {"n0"}
    different = [{"distinctAttribute": f"{DRIVER}/model"}]
    found = world([claim("c", request(count=2), constraints=different)], slices)
    assert feasible_nodes(NODES, user("c"), **found) == {"n0", "n1"}


def test_the_first_alternative_that_can_be_had_is_taken():
    def alternative(name, expression):
        selectors = [{"cel": {"expression": expression}}]
        return {"name": name, "deviceClassName": "gpu", "count": 1, "selectors": selectors}

    big = alternative("big", f'device.capacity["{DRIVER}"].memory.isGreaterThan(quantity("64Gi"))')
    any_ = alternative("any", "true")
    found = world([claim("c", {"name": "r", "firstAvailable": [big, any_]})], SLICES)
    columns, item, picked = columns_of(NODES, **found), PodInfo.of(user("c")), {}
    for where in ("n0", "n1"):
        plugin = DynamicResources()
        plugin.reserve(columns, item, where)
        (assumed,) = columns.catalog.assumed("resourceclaims.resource.k8s.io")
        picked[where] = assumed["status"]["allocation"]["devices"]["results"][0]["request"]
        plugin.unreserve(columns, item, where)
    assert picked == {"n0": "r/any", "n1": "r/big"}


def test_all_devices_means_all_of_them_and_all_must_be_free():
    everything = request(allocationMode="All")
    found = world([claim("c", everything)], SLICES)
    assert feasible_nodes(NODES, user("c"), **found) == {"n0", "n1"}
    result = {"request": "r", "driver": DRIVER, "pool": "n0", "device": "d1"}
    taken = claim("other", request(), allocation={"devices": {"results": [result]}})
    found = world([claim("c", everything), taken], SLICES)
    assert feasible_nodes(NODES, user("c"), **found) == {"n1"}


def test_tainted_devices_need_a_toleration_and_pools_must_be_complete():
    taint = {"key": "broken", "effect": "NoSchedule"}
    slices = [slice_of("n0", device("d0", taints=[taint])), slice_of("n1", device("d0"), count=2)]
    assert not feasible_nodes(NODES, user("c"), **world([claim("c", request())], slices))
    tolerant = request(tolerations=[{"key": "broken", "operator": "Exists"}])
    found = world([claim("c", tolerant)], slices)
    assert feasible_nodes(NODES, user("c"), **found) == {"n0"}


def test_an_older_generation_of_a_pool_does_not_count():
    slices = [slice_of("n0", device("d0")), slice_of("n0", generation=2)]
    assert not feasible_nodes(NODES, user("c"), **world([claim("c", request())], slices))


def test_devices_of_the_network_can_be_used_by_nodes_that_are_selected():
    labelled = [node("a", labels={"rack": "1"}), node("b", labels={"rack": "2"})]
    expression = {"key": "rack", "operator": "In", "values": ["2"]}
    where = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    slices = [slice_of("", device("d0"), pool="net", nodeSelector=where)]
    found = world([claim("c", request())], slices)
    assert feasible_nodes(labelled, user("c"), **found) == {"b"}


def test_what_is_reserved_for_one_pod_is_not_given_to_the_next():
    found = world([claim("c", request()), claim("d", request())], SLICES[1:])
    columns, plugin = columns_of(NODES, **found), DynamicResources()
    first, second = PodInfo.of(user("c")), PodInfo.of(user("d", name="q"))
    plugin.reserve(columns, first, "n1")
    with pytest.raises(Unbindable):
        plugin.reserve(columns, second, "n1")
    (assumed,) = columns.catalog.assumed("resourceclaims.resource.k8s.io")
    assert assumed["status"]["reservedFor"] == [{"resource": "pods", "name": "p", "uid": first.uid}]


# Against trying everything


@settings(max_examples=150, deadline=None, print_blob=True)
@given(
    st.lists(st.sampled_from("ab"), max_size=4),
    st.lists(
        st.tuples(st.integers(1, 2), st.sampled_from(["a", "b", "ab"])), min_size=1, max_size=2
    ),
    st.booleans(),
)
def test_a_set_of_devices_is_found_if_there_is_one(models, asked, same):
    found = devices([slice_of("n", *(device(f"d{i}", m) for i, m in enumerate(models)))])
    requests = [
        {"name": str(i), "exactly": {"count": c, "models": m}} for i, (c, m) in enumerate(asked)
    ]
    constraints = [{"matchAttribute": f"{DRIVER}/model"}] if same else []
    claims = [claim("c", *requests, constraints=constraints)]

    def selects(wanted, one):
        return one.given["attributes"]["model"]["string"] in wanted["models"]

    slots = [m for count, m in asked for _ in range(count)]
    possible = any(
        all(models[i] in m for i, m in zip(chosen, slots, strict=True))
        and (not same or len({models[i] for i in chosen}) == 1)
        for chosen in itertools.permutations(range(len(models)), len(slots))
    )
    picked = Search(claims, found, set(), selects).run()
    assert (picked is not None) == possible
    if picked is not None:
        names = [p.device.identity[2] for p in picked]
        assert len(names) == len(set(names)) == len(slots)
