"""Makes and removes simulated nodes through the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from cluster.client import Client
from cluster.kubelet.simulated.nodes import FLEET, Model, new_nodes
from cluster.machinery.status import ApiError

Object = dict[str, Any]

CONCURRENT = 24


async def register(
    client: Client, count: int, model: Model, *, fleets: Sequence[str], prefix: str = "sim"
) -> list[str]:
    """The names of `count` new nodes; their fleets make them Ready. Raises ValueError if there is
    no room for them, ApiError if the API refuses one."""
    existing = (await client.list("nodes"))["items"]
    new = list(new_nodes(count, prefix, model, fleets, existing))

    async def create(node: Object) -> None:
        await client.create("nodes", node)

    await _each(new, create)
    return [node["metadata"]["name"] for node in new]


async def simulated(client: Client) -> list[Object]:
    """All Nodes that are simulated."""
    found: list[Object] = (await client.list("nodes", label_selector=FLEET))["items"]
    return found


async def remove(client: Client, names: Iterable[str]) -> None:
    """Delete nodes; controllers end what is bound to them. One that is gone is no failure."""

    async def delete(name: str) -> None:
        try:
            await client.delete("nodes", name)
        except ApiError as error:
            if error.code != 404:
                raise

    await _each(names, delete)


async def _each(items: Iterable[Any], work: Callable[[Any], Awaitable[None]]) -> None:
    """A few at once; the first failure ends all."""
    waiting = iter(list(items))

    async def worker() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT):
            group.create_task(worker())
