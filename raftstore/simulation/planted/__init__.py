"""Bugs to plant: each breaks one rule, and the harness has to notice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from actors.simulation.patching import Patch
from raftstore.simulation.planted import consensus, data, durability, leases, members

PLANTED: dict[str, Patch] = {
    **consensus.PLANTED,
    **durability.PLANTED,
    **data.PLANTED,
    **leases.PLANTED,
    **members.PLANTED,
}


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """The bug is there while this is open."""
    with PLANTED[name]():
        yield
