"""Clients of several API servers that use one collection together, and note all that they see."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

from actors.seams.randomness import Randomness
from cluster.client import Client
from cluster.client.errors import ClientError, UnknownOutcome
from cluster.faults.servers.history import WRITES, Call, Seen, Watched
from cluster.machinery.status import ApiError

NAMESPACE = "chaos"
RESOURCE = "configmaps"
NAMES = tuple(f"object-{number}" for number in range(8))
VERBS = ("create", "update", "update", "patch", "patch", "delete", "get", "get", "list")
EXPECTED = {
    "create": {"AlreadyExists"},
    "update": {"Conflict", "NotFound"},
    "patch": {"NotFound"},
    "delete": {"NotFound"},
    "get": {"NotFound"},
    "list": set[str](),
}
"""Answers that are no failure."""
CALLS_A_CLIENT = 40
"""Then a worker begins anew with a client that prefers another server."""
THINK_S = (0.0, 0.02)
PINNED_EVERY_S = 0.1
QUIET_S = 3.0
"""A watch that shows nothing for so long, while others write, is opened at another server."""
STREAM_S = (2, 5)

NewClient = Callable[[], Client]
Object = dict[str, Any]


class Load:
    """Spawn `work`, `read_at` and `watch` as tasks; they end by cancellation only."""

    def __init__(self, randomness: Randomness, new_client: NewClient) -> None:
        """`new_client`: one that knows all servers, and prefers any of them."""
        self.calls: list[Call] = []
        self.watched: list[Watched] = []
        self._randomness, self._new_client = randomness, new_client
        self._number = 0

    # ---- workers

    async def work(self) -> None:
        """One request after the other, of all kinds."""
        while True:
            client = self._new_client()
            try:
                for _ in range(CALLS_A_CLIENT):
                    verb = self._randomness.choice(VERBS)
                    await self._call(client, verb, self._randomness.choice(NAMES))
                    await asyncio.sleep(self._randomness.uniform(*THINK_S))
            finally:
                await client.close()

    async def _call(self, client: Client, verb: str, name: str) -> None:
        current = await self._read(client, name) if verb == "update" else None
        if verb == "update" and current is None:
            verb = "create"
        call = Call(verb, name, time.monotonic(), value=self._value(verb))
        call.basis = int(current["metadata"]["resourceVersion"]) if current else 0
        await self._note(call, lambda: self._send(client, call, current))

    def _value(self, verb: str) -> str:
        if verb not in WRITES - {"delete"}:
            return ""
        self._number += 1
        return f"value-{self._number}"

    async def _read(self, client: Client, name: str) -> Object | None:
        call = Call("get", name, time.monotonic())
        return await self._note(call, lambda: client.get(RESOURCE, name, NAMESPACE))

    async def _send(self, client: Client, call: Call, current: Object | None) -> Object:
        name, data = call.name, {"value": call.value}
        match call.verb:
            case "create":
                new = {"metadata": {"name": name}, "data": data}
                return await client.create(RESOURCE, new, NAMESPACE)
            case "update":
                assert current is not None
                return await client.update(RESOURCE, {**current, "data": data})
            case "patch":
                return await client.patch(RESOURCE, name, {"data": data}, NAMESPACE)
            case "delete":
                return await client.delete(RESOURCE, name, NAMESPACE)
            case "get":
                return await client.get(RESOURCE, name, NAMESPACE)
        return await client.list(RESOURCE, NAMESPACE)

    async def _note(self, call: Call, send: Callable[[], Awaitable[Object]]) -> Object | None:
        """Record the call and its outcome; the answer, if there was a good one."""
        self.calls.append(call)
        answer: Object | None = None
        try:
            answer = await send()
        except UnknownOutcome as error:
            call.outcome = "unknown" if call.verb in WRITES else "failed"
            call.detail = str(error)
        except ClientError as error:
            call.outcome, call.detail = "failed", f"{type(error).__name__}: {error}"
        except ApiError as error:
            expected = error.reason in EXPECTED[call.verb]
            call.outcome = "refused" if expected else "failed"
            call.detail = error.reason if expected else f"{error.code} {error.reason}: {error}"
        else:
            call.outcome = "ok"
            _fill(call, answer)
        finally:
            call.returned_s = time.monotonic()
        return answer

    # ---- readers that stay with one server

    async def read_at(self, name: str, client: Client) -> None:
        """Lists at one server, also while it is broken: what it answers then must be true too."""
        while True:
            call = Call("list", "*", time.monotonic(), server=name)
            await self._note(call, lambda: client.list(RESOURCE, NAMESPACE))
            if call.outcome == "failed":
                call.outcome = "open"  # it is this server that was broken
            await asyncio.sleep(PINNED_EVERY_S)

    # ---- watchers

    async def watch(self) -> None:
        """List once, then follow over many streams at all servers."""
        watched = await self._begin()
        self.watched.append(watched)
        while True:
            client = self._new_client()
            try:
                await self._follow(client, watched)
            except (ClientError, TimeoutError):
                pass  # the next server
            except ApiError as error:
                watched.restarts.append(f"at {watched.reached}: {error.code} {error}")
                await asyncio.sleep(QUIET_S)
            finally:
                await client.close()

    async def _begin(self) -> Watched:
        client = self._new_client()
        try:
            page = await client.list(RESOURCE, NAMESPACE)
            return Watched(int(page["metadata"]["resourceVersion"]))
        finally:
            await client.close()

    async def _follow(self, client: Client, watched: Watched) -> None:
        watched.streams += 1
        stream = client.watch(
            RESOURCE,
            NAMESPACE,
            resource_version=str(watched.reached),
            timeout_s=self._randomness.randrange(*STREAM_S),
            bookmarks=True,
        )
        events = cast(AsyncGenerator[tuple[str, Object], None], stream)
        async with contextlib.aclosing(events):
            while True:
                try:
                    async with asyncio.timeout(QUIET_S):
                        kind, obj = await anext(events)
                except StopAsyncIteration:
                    return
                _see(watched, kind, obj)


def _fill(call: Call, answer: Object) -> None:
    """What the answer says."""
    if call.verb == "list":
        call.revision = int(answer["metadata"]["resourceVersion"])
        items = [item["metadata"] for item in answer["items"]]
        call.found = {m["name"]: int(m["resourceVersion"]) for m in items if m["name"] in NAMES}
    elif call.verb != "delete":
        call.revision = int(answer["metadata"]["resourceVersion"])
        call.value = answer["data"]["value"]


def _see(watched: Watched, kind: str, obj: Object) -> None:
    revision = int(obj["metadata"]["resourceVersion"])
    if kind == "BOOKMARK":
        watched.marked = revision
    elif obj["metadata"]["name"] in NAMES:
        watched.seen.append(Seen(kind, obj["metadata"]["name"], revision, obj["data"]["value"]))
