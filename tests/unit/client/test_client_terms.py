"""A leader's client: it writes while its term surely goes on, and says which term that is."""

from __future__ import annotations

import asyncio

import pytest

from cluster.client.errors import Unreachable
from cluster.client.term import Term, TermOver
from cluster.machinery.fencing import HEADER, Fence

MAP = {"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
FENCE = Fence("kube-system", "job", 3, "one")


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def now(self):
        return self.now_s


def test_a_write_names_its_term_and_a_read_does_not(with_server, http_answer):
    seen = []

    async def handler(method, path, query, headers, body, writer):
        seen.append((method, headers.get(HEADER.lower())))
        http_answer(writer, 200, {"metadata": {}})

    async def test(http, client):
        leader = client.during(Term(Clock(), FENCE, 10.0))
        await leader.get("configmaps", "a", "default")
        await leader.create("configmaps", MAP)
        await leader.update("configmaps", MAP)
        await leader.patch("configmaps", "a", {}, "default")
        await leader.delete("configmaps", "a", "default")
        await leader.delete_collection("configmaps", "default")
        await client.create("configmaps", MAP)

    with_server(handler, test)
    written = [header for method, header in seen if method != "GET"]
    assert written == ["kube-system/job/3/one"] * 5 + [None]
    assert seen[0] == ("GET", None)


def test_nothing_is_written_when_somebody_else_may_lead_but_reading_goes_on(with_api):
    async def test(api, http, client):
        clock = Clock()
        term = Term(clock, FENCE, 10.0)
        leader = client.during(term)
        clock.now_s = 9.9
        await leader.create("configmaps", MAP)
        clock.now_s = 10.0  # as after a pause
        before = http.requests
        for write in (
            leader.create("configmaps", MAP),
            leader.update("configmaps", MAP),
            leader.patch("configmaps", "a", {}, "default"),
            leader.delete("configmaps", "a", "default"),
            leader.delete_collection("configmaps", "default"),
        ):
            with pytest.raises(TermOver) as error:
                await write
            assert isinstance(error.value, Unreachable)
        assert http.requests == before
        assert (await leader.get("configmaps", "a", "default"))["metadata"]["name"] == "a"
        await client.delete("configmaps", "a", "default")

    with_api(test)


def test_a_write_that_waited_for_a_connection_while_the_term_ended_is_not_sent(
    with_server, http_answer
):
    arrived, go_on = [], asyncio.Event()

    async def handler(method, path, query, headers, body, writer):
        arrived.append(method)
        await go_on.wait()
        http_answer(writer, 200, {"metadata": {}})

    async def test(http, client):
        clock = Clock()
        leader = client.during(Term(clock, FENCE, 10.0))
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for _ in range(32):
                group.create_task(client.raw("GET", "/slow"))
            while len(arrived) < 32:
                await asyncio.sleep(0.01)
            late = group.create_task(_refused(leader.create("configmaps", MAP)))
            await asyncio.sleep(0.01)
            clock.now_s = 11.0
            go_on.set()
            await late

    async def _refused(write):
        with pytest.raises(TermOver):
            await write

    with_server(handler, test)
    assert "POST" not in arrived
