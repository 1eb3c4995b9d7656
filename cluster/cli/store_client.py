"""Commands as clients of the store: with the cluster's certificate, for as long as one takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from actors.seams import system_seams
from cluster import compose
from cluster.cli.errors import CommandError
from raftstore.client import StoreClient
from raftstore.errors import StoreError, UnknownOutcome

T = TypeVar("T")
TIMEOUT_S = 10.0


def run(shape: compose.Shape, work: Callable[[StoreClient], Awaitable[T]]) -> T:
    """What `work` returns, given a client that is started. Raises CommandError."""
    hint = f"see `raykube store status --name {shape.name}`"
    try:
        return asyncio.run(_run(shape, work))
    except UnknownOutcome as error:
        raise CommandError(f"whether it was done is not known: {error}", hint=hint) from error
    except StoreError as error:
        raise CommandError(f"the store refuses: {error}", hint=hint) from error


async def _run(shape: compose.Shape, work: Callable[[StoreClient], Awaitable[T]]) -> T:
    client = StoreClient(
        [place.client for place in places(shape).values()], files(shape), TIMEOUT_S
    )
    await client.start(system_seams())
    try:
        return await work(client)
    finally:
        await client.stop()


class Place(NamedTuple):
    """Where a member stands: its addresses for the others and for clients."""

    peer: str
    client: str


def places(shape: compose.Shape) -> dict[str, Place]:
    """The members by name, as `up` laid them out."""
    saved = json.loads(Path(shape.path("store-members")).read_text())
    return {name: Place(*addresses) for name, addresses in saved.items()}


def files(shape: compose.Shape) -> dict[str, str]:
    names = {"ca": "ca.crt", "cert": "store-client.crt", "key": "store-client.key"}
    return {name: shape.path("pki", file_name) for name, file_name in names.items()}
