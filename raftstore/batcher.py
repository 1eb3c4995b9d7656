"""Many client requests in one log entry, a few entries in flight: what makes writes quick."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from raftstore import wire
from raftstore.errors import InvalidRequest, NotLeader, StoreError, Unavailable, UnknownOutcome
from raftstore.mvcc.machine import Request
from raftstore.raft.interface import Callback, Outcome

MAX_IN_FLIGHT = 4
MAX_BATCH_REQUESTS = 1000
MAX_BATCH_BYTES = 1 << 20
MAX_WAITING = 20_000

Reply = Callable[[bytes], None]
"""Called once with a packed answer (see `wire.answer`)."""


class Batcher:
    """Collects requests and proposes them; every request gets exactly one reply."""

    def __init__(
        self, propose: Callable[[bytes, Callback], None], leader_address: Callable[[], str]
    ) -> None:
        self._propose, self._leader_address = propose, leader_address
        self._waiting: deque[tuple[Request, Reply]] = deque()
        self._in_flight = 0
        self._scheduled = False

    def add(self, request: Request, reply: Reply) -> None:
        """Requests that come in one turn of the loop share a batch. Raises Unavailable."""
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many writes are waiting")
        self._waiting.append((request, reply))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting and self._in_flight < MAX_IN_FLIGHT:
            self._propose_one(self._next_batch())

    def _next_batch(self) -> list[tuple[Request, Reply]]:
        batch: list[tuple[Request, Reply]] = []
        size_bytes = 0
        while self._waiting and len(batch) < MAX_BATCH_REQUESTS and size_bytes < MAX_BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size_bytes += len(batch[-1][0].operation)
        return batch

    def _propose_one(self, batch: Sequence[tuple[Request, Reply]]) -> None:
        replies = [reply for _, reply in batch]

        def done(outcome: Outcome, result: Any) -> None:
            self._in_flight -= 1
            for reply, answer in zip(replies, self._answers(outcome, result, batch), strict=True):
                reply(answer)
            self._flush()

        self._in_flight += 1
        self._propose(wire.pack([request for request, _ in batch]), done)

    def _answers(self, outcome: Outcome, result: Any, batch: Sequence[Any]) -> Sequence[bytes]:
        if outcome is Outcome.APPLIED and not isinstance(result, Exception):
            answers: Sequence[bytes] = result
            return answers
        return [wire.failure(self._error(outcome, result))] * len(batch)

    def _error(self, outcome: Outcome, result: Any) -> StoreError:
        if outcome is Outcome.REFUSED:
            return NotLeader(self._leader_address())
        if outcome is Outcome.UNKNOWN:
            return UnknownOutcome("leadership changed before the write was answered")
        return InvalidRequest(f"the store could not execute this: {result!r}")
