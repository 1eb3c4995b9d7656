"""Devices: which nodes can satisfy a pod's claims, and what the claims get."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling_objects import columns_of, decide, feasible_nodes, node, pod

from cluster.scheduler.devices.allocation import Search
from cluster.scheduler.devices.ledger import Ledger, share
from cluster.scheduler.devices.pools import devices
from cluster.scheduler.framework.effects import Unbindable
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.dynamic_resources import DynamicResources

DRIVER = "gpu.example.com"
CLAIM = "resourceclaims.resource.k8s.io"
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


@pytest.mark.parametrize("finalizer", [True, False], ids=["its finalizer", "its deletion"])
def test_devices_stay_taken_while_their_claim_is_written_step_by_step(finalizer):
    """The API tells of the finalizer before the allocation: the next pod must not get them."""
    mine = claim("c", request())
    columns = columns_of(NODES, **world([mine, claim("d", request())], SLICES[1:]))
    plugin, second = DynamicResources(), PodInfo.of(user("d", name="q"))
    plugin.reserve(columns, PodInfo.of(user("c")), "n1")
    change = {"finalizers": ["f"]} if finalizer else {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    columns.catalog.put(CLAIM, {**mine, "metadata": {**mine["metadata"], **change}})
    if finalizer:
        with pytest.raises(Unbindable):
            plugin.reserve(columns, second, "n1")
        plugin.unreserve(columns, PodInfo.of(user("c")), "n1")
    plugin.reserve(columns, second, "n1")


# Partitions and shares


def allocation_of(columns, *found):
    """What the pods that use the claims get on n0, one after the other; None: nothing."""
    plugin, results = DynamicResources(), []
    for name in found:
        try:
            plugin.reserve(columns, PodInfo.of(user(name, name=f"p-{name}")), "n0")
        except Unbindable:
            results.append(None)
        else:
            kept = columns.catalog.get(CLAIM, f"ns/{name}")
            results.append(kept["status"]["allocation"]["devices"]["results"])
    return results


def partition(name, memory):
    counters = {"memory": {"value": memory}}
    return device(name, consumesCounters=[{"counterSet": "gpu-0", "counters": counters}])


def gpu_memory(value):
    return [{"name": "gpu-0", "counters": {"memory": {"value": value}}}]


def names_of(results):
    return [found and [each["device"] for each in found] for found in results]


@pytest.mark.parametrize("apart", [False, True], ids=["with the devices", "slice of its own"])
def test_partitions_are_given_out_while_their_hardware_has_room(apart):
    parts = partition("whole", "40Gi"), partition("half", "20Gi"), partition("other", "20Gi")
    if apart:
        slices = [slice_of("n0", *parts, count=2), slice_of("n0", count=2)]
        slices[1]["spec"]["sharedCounters"] = gpu_memory("40Gi")
    else:
        slices = [slice_of("n0", *parts)]
        slices[0]["spec"]["sharedCounters"] = gpu_memory("40Gi")
    claims = [claim(name, request()) for name in "ab"]
    found = allocation_of(columns_of(NODES, **world(claims, slices)), "a", "b")
    assert names_of(found) == [["whole"], None]
    smaller = [claim("a", request(count=2)), *claims[1:]]
    found = allocation_of(columns_of(NODES, **world(smaller, slices)), "a", "b")
    assert names_of(found) == [["half", "other"], None]


def test_counters_of_two_slices_are_not_mixed_up_and_unknown_ones_are_empty():
    slices = [slice_of("n0", partition("d0", "10Gi"), count=3)]
    slices.append(slice_of("n0", partition("d1", "10Gi"), device("plain"), count=3))
    slices.append(slice_of("n0", *(device(f"x{i}", "b") for i in range(3)), count=3))
    slices[0]["spec"]["sharedCounters"] = gpu_memory("10Gi")
    model = f'device.attributes["{DRIVER}"].model == "a"'
    claims = [claim(name, request("r", 1, model)) for name in "abc"]
    found = allocation_of(columns_of(NODES, **world(claims, slices)), "a", "b", "c")
    assert names_of(found) == [["d0"], ["plain"], None]


def shared(name, memory="40Gi", **policy):
    made = device(name, memory=memory, allowMultipleAllocations=True)
    if policy:
        made["capacity"]["memory"]["requestPolicy"] = policy
    return made


def part(memory=None, **more):
    return request(capacity={"requests": {"memory": memory}} if memory else None, **more)


def test_claims_share_a_device_that_allows_it_until_its_capacity_is_given_out():
    claims = [claim(n, part(m)) for n, m in (("a", "30Gi"), ("b", "20Gi"), ("c", "10Gi"))]
    columns = columns_of(NODES, **world(claims, [slice_of("n0", shared("d0"))]))
    first, second, third = allocation_of(columns, "a", "b", "c")
    assert second is None
    assert [each[0]["consumedCapacity"]["memory"] for each in (first, third)] == ["30Gi", "10Gi"]
    assert first[0]["shareID"] != third[0]["shareID"]
    columns = columns_of(
        NODES, **world([*claims, claim("d", part())], [slice_of("n0", shared("d0"))])
    )
    assert [found is None for found in allocation_of(columns, "d", "c")] == [False, True]


def test_one_claim_may_have_several_shares_unless_they_must_be_distinct():
    slices, twice = [slice_of("n0", shared("d0"))], part("20Gi", count=2)
    columns = columns_of(NODES, **world([claim("a", twice)], slices))
    assert names_of(allocation_of(columns, "a")) == [["d0", "d0"]]
    apart = [{"distinctAttribute": f"{DRIVER}/index"}]
    columns = columns_of(NODES, **world([claim("a", twice, constraints=apart)], slices))
    assert allocation_of(columns, "a") == [None]


@pytest.mark.parametrize(
    ("policy", "asked", "expected"),
    [
        ({}, None, 40),
        ({}, "3Gi", 3),
        ({}, "41Gi", None),
        ({"default": "4Gi"}, None, 4),
        ({"default": "4Gi", "validValues": ["4Gi", "8Gi", "16Gi"]}, "5Gi", 8),
        ({"default": "4Gi", "validValues": ["4Gi", "8Gi", "16Gi"]}, "17Gi", None),
        ({"default": "4Gi", "validRange": {"min": "4Gi", "max": "12Gi"}}, "1Gi", 4),
        ({"default": "4Gi", "validRange": {"min": "4Gi", "max": "12Gi"}}, "13Gi", None),
        ({"default": "4Gi", "validRange": {"min": "4Gi", "step": "3Gi"}}, "8Gi", 10),
        ({"default": "4Gi", "validRange": {"min": "4Gi", "step": "3Gi"}}, "7Gi", 7),
    ],
)
def test_a_share_is_rounded_up_as_the_device_says(policy, asked, expected):
    (one,) = devices([slice_of("n0", shared("d0", **policy))])
    found = share(one, part(asked)["exactly"])
    assert (found and found["memory"] / 2**30 / 10**9) == expected


def test_a_whole_device_must_have_the_capacity_that_is_asked_for():
    assert feasible_nodes(NODES, user("c"), **world([claim("c", part("64Gi"))], SLICES)) == {"n1"}
    other = request(capacity={"requests": {"cores": "1"}})
    assert not feasible_nodes(NODES, user("c"), **world([claim("c", other)], SLICES))


@settings(max_examples=200, deadline=None, print_blob=True)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.integers(1, 6),
    st.lists(st.integers(1, 2), min_size=1, max_size=3),
)
def test_partitions_are_found_if_there_are_some_that_fit_together(sizes, memory, asked):
    found = slice_of("n", *(partition(f"d{i}", str(size)) for i, size in enumerate(sizes)))
    found["spec"]["sharedCounters"] = gpu_memory(str(memory))
    claims = [claim(str(i), request(count=count)) for i, count in enumerate(asked)]
    picked = Search(claims, devices([found]), Ledger((), ()), lambda *_: True).run()
    fewest = sum(sorted(sizes)[: sum(asked)])
    assert (picked is not None) == (sum(asked) <= len(sizes) and fewest <= memory)
    if picked is not None:
        assert sum(sizes[int(p.device.identity[2][1:])] for p in picked) <= memory


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
    picked = Search(claims, found, Ledger((), ()), selects).run()
    assert (picked is not None) == possible
    if picked is not None:
        names = [p.device.identity[2] for p in picked]
        assert len(names) == len(set(names)) == len(slots)
