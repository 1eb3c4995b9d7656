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
from cluster.apiserver.fairness.borrowing import Demand

QUEUE_WAIT_S = 15.0
"""A quarter of the time that a request has, as upstream."""


class Rejected(Exception):
    """There is no seat, and no place to wait for one; the message is upstream's reason."""


@dataclass(frozen=True)
class Shape:
    """`queues` 0: who finds no free seat is rejected. `seats` None: there is no limit.

    `nominal`: its part of the server's seats. `least` and `most`: how few seats are left to it
    when it has lent all that it may, and how many it has when it has borrowed all that it may.
    """

    seats: int | None
    queues: int = 0
    hand_size: int = 1
    queue_length: int = 0
    nominal: int = 0
    least: int = 0
    most: int = 0


@dataclass
class _Queue:
    """`start`: the virtual time at which its next request may begin."""

    waiting: deque[tuple[asyncio.Future[None], int]] = field(default_factory=deque)
    start: float = 0.0


class Level:
    """`enter`, and `leave` with the seats that it gave once the request is served.

    `limit` is how many seats there are now: those of the shape, but for what is lent.
    """

    def __init__(self, shape: Shape, clock: Clock) -> None:
        self.shape, self._clock = shape, clock
        self.limit = shape.seats
        self.seats_used = 0
        self.waiting = 0
        self.rejected = 0
        self.demand = Demand(clock.now())
        self._seats_waited_for = 0
        self._queues = [_Queue() for _ in range(shape.queues)]
        self._virtual = 0.0

    async def enter(self, flow: int, seats: int) -> int:
        """Wait for seats, and how many were given. Raises Rejected; `flow`: a hash of 64 bits."""
        if self.shape.seats is not None:
            seats = min(seats, self.shape.seats)
        if not self.waiting and self._fits(seats):
            self._take(seats)
            return seats
        if not self._queues:
            self.rejected += 1
            raise Rejected("concurrency-limit")
        await self._wait(self._queue_of(flow), seats)
        return seats

    def leave(self, seats: int) -> None:
        """Give the seats back; who waits for them goes on."""
        self._take(-seats)
        self._dispatch()

    def adjust(self, limit: int) -> None:
        """Have so many seats from now on; who is seated stays."""
        self.limit = limit
        self._dispatch()

    def _fits(self, seats: int) -> bool:
        """Who is wider than the level has become gets a seat when nobody else has one."""
        return self.limit is None or not self.seats_used or self.seats_used + seats <= self.limit

    def _take(self, seats: int) -> None:
        self.seats_used += seats
        self._note()

    def _note(self) -> None:
        self.demand.set(self.seats_used + self._seats_waited_for, self._clock.now())

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
        self._seats_waited_for += seats
        self._note()
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
            self._seats_waited_for -= seats
            self._note()
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave(seats)
        if turn.done() and not turn.cancelled() and isinstance(turn.exception(), Rejected):
            self.rejected += 1

    def _dispatch(self) -> None:
        while self.waiting:
            queue = min((q for q in self._queues if q.waiting), key=lambda q: q.start)
            turn, seats = queue.waiting[0]
            if not self._fits(seats):
                return
            queue.waiting.popleft()
            self.waiting -= 1
            self._seats_waited_for -= seats
            if turn.done():
                self._note()
                continue
            self._virtual = queue.start
            queue.start += seats
            self._take(seats)
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
