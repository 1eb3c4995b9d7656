"""A priority level: so many seats, and fair queues for who finds none free.

A flow is dealt a hand of queues by its hash (shuffle sharding) and joins the shortest, so that a
busy flow meets a quiet one in few of its queues. Queues are served by start-time fair queuing
(Goyal, Vin, Cheng 1996): the queue that has had the least of the seats comes next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.seams.clock import Clock

QUEUE_WAIT_S = 15.0
"""A quarter of the time that a request has, as upstream."""


class Rejected(Exception):
    """There is no seat, and no place to wait for one; the message is upstream's reason."""


@dataclass(frozen=True)
class Shape:
    """`queues` 0: who finds no free seat is rejected. `seats` None: there is no limit."""

    seats: int | None
    queues: int = 0
    hand_size: int = 1
    queue_length: int = 0


@dataclass
class _Queue:
    """`start`: the virtual time at which its next request may begin."""

    waiting: deque[tuple[asyncio.Future[None], int]] = field(default_factory=deque)
    start: float = 0.0


class Level:
    """`enter`, and `leave` with the same number of seats once the request is served."""

    def __init__(self, shape: Shape, clock: Clock) -> None:
        self.shape, self._clock = shape, clock
        self.seats_used = 0
        self.waiting = 0
        self.rejected = 0
        self._queues = [_Queue() for _ in range(shape.queues)]
        self._virtual = 0.0

    async def enter(self, flow: int, seats: int) -> None:
        """Wait for seats. Raises Rejected; `flow` is a hash of 64 bits."""
        limit = self.shape.seats
        if limit is None:
            self.seats_used += seats
            return
        seats = min(seats, limit)
        if not self.waiting and self.seats_used + seats <= limit:
            self.seats_used += seats
            return
        if not self._queues:
            self.rejected += 1
            raise Rejected("concurrency-limit")
        await self._wait(self._queue_of(flow), seats)

    def leave(self, seats: int) -> None:
        """Give the seats back; who waits for them goes on."""
        limit = self.shape.seats
        self.seats_used -= seats if limit is None else min(seats, limit)
        self._dispatch()

    def _queue_of(self, flow: int) -> _Queue:
        hand = [self._queues[at] for at in dealt(flow, len(self._queues), self.shape.hand_size)]
        return min(hand, key=lambda queue: len(queue.waiting))

    async def _wait(self, queue: _Queue, seats: int) -> None:
        if len(queue.waiting) >= self.shape.queue_length:
            self.rejected += 1
            raise Rejected("queue-full")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not queue.waiting:
            queue.start = max(queue.start, self._virtual)
        entry = (turn, seats)
        queue.waiting.append(entry)
        self.waiting += 1
        timer = self._clock.call_later(QUEUE_WAIT_S, _expire, turn)
        try:
            await turn
        except BaseException:
            self._forget(queue, entry)
            raise
        finally:
            timer.cancel()

    def _forget(self, queue: _Queue, entry: tuple[asyncio.Future[None], int]) -> None:
        """Who does not wait any more leaves the queue, or the seats that were just given."""
        turn, seats = entry
        if entry in queue.waiting:
            queue.waiting.remove(entry)
            self.waiting -= 1
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave(seats)
        if turn.done() and not turn.cancelled() and isinstance(turn.exception(), Rejected):
            self.rejected += 1

    def _dispatch(self) -> None:
        limit = self.shape.seats or 0
        while self.waiting:
            queue = min((q for q in self._queues if q.waiting), key=lambda q: q.start)
            turn, seats = queue.waiting[0]
            if self.seats_used + seats > limit:
                return
            queue.waiting.popleft()
            self.waiting -= 1
            if turn.done():
                continue
            self._virtual = queue.start
            queue.start += seats
            self.seats_used += seats
            turn.set_result(None)


def _expire(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(Rejected("time-out"))


def dealt(flow: int, queues: int, hand_size: int) -> Sequence[int]:
    """A hand of different queues for a flow, the same one each time (pure)."""
    hand: list[int] = []
    for left in range(queues, queues - min(hand_size, queues), -1):
        flow, card = divmod(flow, left)
        for earlier in sorted(hand):
            card += earlier <= card
        hand.append(card)
    return hand
