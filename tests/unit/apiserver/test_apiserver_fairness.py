from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from api_fixture import RunningApi
from hypothesis import given
from hypothesis import strategies as st

from actors.seams import system_seams
from cluster.apiserver.authn.user import User
from cluster.apiserver.authz.attributes import Attributes
from cluster.apiserver.fairness import bootstrap, schemas
from cluster.apiserver.fairness.borrowing import Demand, Share, allocate
from cluster.apiserver.fairness.dispatcher import width
from cluster.apiserver.fairness.queues import Level, Rejected, Shape, dealt

CLOCK = system_seams().clock


@given(st.integers(0, 2**64 - 1), st.integers(1, 128), st.integers(1, 8))
def test_a_hand_is_of_different_queues_and_always_the_same(
    flow: int, queues: int, size: int
) -> None:
    hand = dealt(flow, queues, size)
    assert len(set(hand)) == len(hand) == min(size, queues)
    assert all(0 <= at < queues for at in hand)
    assert hand == dealt(flow, queues, size)


def test_flows_share_the_seats_whoever_asks_more_often() -> None:
    async def run() -> Counter[str]:
        level = Level(Shape(2, queues=64, hand_size=1, queue_length=100), CLOCK)
        served: Counter[str] = Counter()
        order: list[str] = []

        async def request(flow: str, number: int) -> None:
            await level.enter(number, 1)
            order.append(flow)
            await asyncio.sleep(0)
            level.leave(1)

        await level.enter(0, 1)
        await level.enter(0, 1)  # all seats are taken: everybody waits
        tasks = [asyncio.create_task(request("busy", 1)) for _ in range(80)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(request("quiet", 2)) for _ in range(10)]
        await asyncio.sleep(0)
        assert level.waiting == 90
        level.leave(1)
        level.leave(1)
        await asyncio.gather(*tasks)
        assert level.seats_used == level.waiting == 0
        served.update(order[:20])
        return served

    served = asyncio.run(run())
    assert served["quiet"] >= 9  # it came later, and did not wait for the 80


def test_who_finds_no_place_is_rejected() -> None:
    async def run() -> None:
        full = Level(Shape(1), CLOCK)
        await full.enter(0, 1)
        with pytest.raises(Rejected):
            await full.enter(1, 1)
        queued = Level(Shape(1, queues=1, queue_length=1), CLOCK)
        await queued.enter(0, 1)
        waiting = asyncio.create_task(queued.enter(1, 1))
        await asyncio.sleep(0)
        with pytest.raises(Rejected):
            await queued.enter(2, 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (queued.waiting, queued.seats_used) == (0, 1)
        queued.leave(1)
        given = await queued.enter(3, 5)  # wider than the level: it takes all of it
        assert queued.seats_used == given == 1
        queued.leave(given)
        assert queued.seats_used == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (Attributes(User("a", ("system:masters",)), "get", resource="pods"), "exempt"),
        (Attributes(User("a", ("system:authenticated",)), "get", "/readyz"), "probes"),
        (
            Attributes(
                User("system:node:n", ("system:nodes",)),
                "patch",
                resource="leases",
                group="coordination.k8s.io",
                namespace="kube-node-lease",
            ),
            "system-node-high",
        ),
        (
            Attributes(User("system:node:n", ("system:nodes",)), "get", resource="pods"),
            "system-nodes",
        ),
        (
            Attributes(
                User("system:serviceaccount:kube-system:x"),
                "list",
                resource="pods",
                namespace="default",
            ),
            "kube-system-service-accounts",
        ),
        (
            Attributes(
                User("system:serviceaccount:ns:x", ("system:serviceaccounts",)),
                "list",
                resource="pods",
            ),
            "service-accounts",
        ),
        (Attributes(User("u", ("system:authenticated",)), "get", "/version"), "global-default"),
    ],
)
def test_requests_go_to_the_flow_schemas_of_every_cluster(asked: Attributes, name: str) -> None:
    found = [schemas.parse(o) for o in bootstrap.objects() if o["kind"] == "FlowSchema"]
    assert next(s.name for s in schemas.ordered(found) if s.fits(asked)) == name


def test_a_long_list_takes_more_seats() -> None:
    assert [width(count) for count in (0, 100, 101, 100_000)] == [1, 1, 2, 10]


def test_answers_tell_their_level_and_a_full_one_says_429(tmp_path: Path) -> None:
    api = RunningApi(tmp_path)
    try:
        _, headers, _ = api.raw("GET", "/version", anonymous=True)
        schema = api.get("flowschema", "global-default")
        assert headers["x-kubernetes-pf-flowschema-uid"] == schema["metadata"]["uid"]
        mine = {
            "metadata": {"name": "mine"},
            "spec": {
                "priorityLevelConfiguration": {"name": "catch-all"},
                "matchingPrecedence": 10,
                "rules": [
                    {
                        "subjects": [{"kind": "User", "user": {"name": "jane"}}],
                        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                    }
                ],
            },
        }
        kind = {"kind": "FlowSchema", "apiVersion": bootstrap.API_VERSION}
        code, made = api.json("POST", f"/apis/{bootstrap.API_VERSION}/flowschemas", kind | mine)
        assert code == 201
        jane = api.authority.issue("jane")
        _, headers, _ = api.raw("GET", "/version", user=jane)
        assert headers["x-kubernetes-pf-flowschema-uid"] == made["metadata"]["uid"]
        level = api.server._app._security.fairness.levels["catch-all"]
        everything = level.shape.seats
        api.call(level.enter(0, everything))
        code, headers, body = api.raw("GET", "/version", user=jane)
        assert (code, headers["retry-after"]) == (429, "1")
        assert b"too many requests" in body
        assert api.raw("GET", "/version", anonymous=True)[0] == 200  # others do not notice
        level.leave(everything)
        assert api.raw("GET", "/version", user=jane)[0] == 200
    finally:
        api.close()


def test_the_objects_are_there_and_valid(tmp_path: Path) -> None:
    api: Any = RunningApi(tmp_path)
    try:
        names = {o["metadata"]["name"] for o in api.get("flowschemas")["items"]}
        assert names == {
            o["metadata"]["name"] for o in bootstrap.objects() if o["kind"] == "FlowSchema"
        }
        for kind in ("flowschemas", "prioritylevelconfigurations"):
            for obj in api.get(kind)["items"]:  # written back, they pass validation
                path = f"/apis/{bootstrap.API_VERSION}/{kind}/{obj['metadata']['name']}"
                assert api.json("PUT", path, obj)[0] == 200
    finally:
        api.close()


# -- borrowing ---------------------------------------------------------------------------------

share = st.builds(
    lambda least, more, wanted: Share(least, least + more, max(wanted, least)),
    st.integers(0, 100),
    st.integers(0, 100),
    st.floats(0, 500),
)


@given(st.lists(share, min_size=1, max_size=8), st.integers(0, 1000))
def test_all_seats_are_given_away_within_the_bounds(shares: list[Share], seats: int) -> None:
    found = allocate(seats, shares)
    if not sum(s.least for s in shares) <= seats <= sum(s.most for s in shares):
        assert found is None
        return
    assert found is not None
    assert sum(found) == seats
    assert all(s.least <= given <= s.most for s, given in zip(shares, found, strict=True))


def test_who_wants_twice_as_much_gets_twice_as_much() -> None:
    assert allocate(90, [Share(5, 600, 40), Share(5, 600, 20), Share(30, 600, 1)]) == [40, 20, 30]


def test_demand_is_measured_over_time_and_forgotten_slowly() -> None:
    demand = Demand(0.0)
    demand.set(10, 0.0)
    demand.set(20, 5.0)
    seen = demand.end_period(10.0)
    assert (seen.mean, seen.deviation, seen.high) == (15.0, 5.0, 20.0)
    assert demand.smoothed == 20.0
    demand.set(0, 10.0)
    for period in range(2, 32):
        demand.end_period(10.0 * period)
    assert 9 < demand.smoothed < 11  # half of it after five minutes


def test_an_idle_level_lends_its_seats_to_a_busy_one_and_gets_them_back(tmp_path: Path) -> None:
    api = RunningApi(tmp_path)
    try:
        api.raw("GET", "/version")  # the levels are there now
        fairness = api.server._fairness
        busy, idle = fairness.levels["workload-low"], fairness.levels["workload-high"]

        async def adjusted() -> tuple[Any, Any]:
            fairness.adjust()
            return busy.limit, idle.limit

        async def fill(level: Any, seats: int) -> list[Any]:
            tasks = [asyncio.create_task(level.enter(at, 1)) for at in range(seats)]
            await asyncio.sleep(0)
            return tasks

        assert api.call(adjusted())[0] > 0
        tasks = api.call(fill(busy, 400))
        waited = busy.waiting
        assert waited == 400 - busy.seats_used > 0
        more, less = api.call(adjusted())
        assert more > busy.shape.nominal
        assert idle.shape.least <= less < idle.shape.nominal
        assert sum(level.limit or 0 for level in fairness.levels.values()) <= 600
        assert busy.waiting < waited  # whom the borrowed seats let in
        others = api.call(fill(idle, 100))
        assert idle.waiting > 0
        assert api.call(adjusted())[1] >= idle.shape.nominal > less

        async def end() -> None:
            for task in (*tasks, *others):
                task.cancel()
            await asyncio.gather(*tasks, *others, return_exceptions=True)

        api.call(end())
    finally:
        api.close()
