"""Writes of a leader whose term is over are refused, however late they arrive.

A Lease claims one key for the term that goes on (`strategies.leases`). A write that names a term
compares that its key is there, in its own transaction, so the store orders it before the end of
the term or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.machinery import resources, status
from cluster.machinery.fencing import Fence
from cluster.storage.strategies.leases import FENCES
from raftstore.types import Compare, Op, Range, RangeResult, Store, TxnResult

LEASES = resources.find("leases.coordination.k8s.io")


class FencedStore:
    """The store as the leader of one term may write to it; reads go through as they are."""

    def __init__(self, store: Store, fence: Fence) -> None:
        self._store, self._fence = store, fence
        self._key = f"{FENCES}{fence}".encode()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        """As the store's own; 409 if the term is over, and then nothing is changed."""
        holds = Compare(self._key, "create", ">", 0)
        result = await self._store.txn([*compare, holds], success, [*failure, Range(self._key)])
        if result.succeeded:
            return result
        *responses, found = result.responses
        assert isinstance(found, RangeResult)
        if not found.kvs:
            text = f"{self._fence.holder} does not hold the lease in this term any more"
            raise status.conflict(LEASES, self._fence.name, text)
        return result._replace(responses=responses)
