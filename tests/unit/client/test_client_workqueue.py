from __future__ import annotations

import asyncio

import pytest

from cluster.client import QueueClosed, WorkQueue


class ManualClock:
    """Time that moves only when told."""

    def __init__(self):
        self.time_s = 0.0
        self.timers = []

    def now(self):
        return self.time_s

    def wall(self):
        return self.time_s

    def call_later(self, delay_s, callback, *args):
        timer = Timer(self.time_s + delay_s, callback, args)
        self.timers.append(timer)
        return timer

    def advance(self, seconds):
        self.time_s += seconds
        for timer in sorted(self.timers, key=lambda t: t.due_s):
            if timer.due_s <= self.time_s and timer.live:
                timer.live = False
                timer.callback(*timer.args)


class Timer:
    def __init__(self, due_s, callback, args):
        self.due_s, self.callback, self.args, self.live = due_s, callback, args, True

    def cancel(self):
        self.live = False


def test_a_key_that_waits_is_not_queued_twice():
    queue = WorkQueue(ManualClock())
    for key in ("a", "b", "a"):
        queue.add(key)
    assert len(queue) == 2


def test_a_key_added_while_worked_on_comes_again_after_done():
    async def run():
        queue = WorkQueue(ManualClock())
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert await queue.get() == "a"

    asyncio.run(run())


def test_back_off_doubles_until_forgotten():
    clock = ManualClock()
    queue = WorkQueue(clock, first_backoff_s=1.0, max_backoff_s=3.0)
    delays = []
    for _ in range(4):
        queue.add_rate_limited("a")
        delays.append(clock.timers[-1].due_s - clock.now())
        clock.advance(10)
        asyncio.run(take(queue))
    assert delays == [1.0, 2.0, 3.0, 3.0]
    queue.forget("a")
    queue.add_rate_limited("a")
    assert clock.timers[-1].due_s - clock.now() == 1.0


async def take(queue):
    key = await queue.get()
    queue.done(key)
    return key


def test_the_earliest_of_several_delays_counts():
    clock = ManualClock()
    queue = WorkQueue(clock)
    queue.add_after("a", 10)
    queue.add_after("a", 2)
    queue.add_after("a", 20)
    clock.advance(3)
    assert len(queue) == 1
    clock.advance(30)
    assert len(queue) == 1


def test_a_full_queue_refuses_and_says_so():
    queue = WorkQueue(ManualClock(), limit=2)
    for key in ("a", "b", "c"):
        queue.add(key)
    assert len(queue) == 2
    assert queue.overflowed


def test_closing_ends_waiting_workers():
    async def run():
        queue = WorkQueue(ManualClock())
        workers = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.close()
        for worker in workers:
            with pytest.raises(QueueClosed):
                await worker

    asyncio.run(run())


def test_a_cancelled_worker_does_not_swallow_a_wake_up():
    async def run():
        queue = WorkQueue(ManualClock())
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        async with asyncio.timeout(5):
            assert await second == "a"

    asyncio.run(run())
