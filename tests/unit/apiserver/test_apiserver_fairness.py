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
        await queued.enter(3, 5)  # wider than the level: it takes all of it
        assert queued.seats_used == 1
        queued.leave(5)
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
