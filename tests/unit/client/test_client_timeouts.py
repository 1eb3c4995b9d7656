"""Timeouts of streams: silence ends them, and nothing else does."""

from __future__ import annotations

import asyncio

import pytest

from cluster.client.timeouts import IdleTimeout


class CountedClock:
    """Time that goes on only when told; callbacks run as it does."""

    def __init__(self):
        self.now_s = 0.0
        self.timers = []

    def now(self):
        return self.now_s

    def call_later(self, delay_s, callback, *args):
        timer = Timer(self.now_s + delay_s, callback, args)
        self.timers.append(timer)
        return timer

    async def pass_by(self, seconds):
        end_s = self.now_s + seconds
        while due := [t for t in self.timers if not t.done and t.due_s <= end_s]:
            timer = min(due, key=lambda t: t.due_s)
            self.now_s, timer.done = timer.due_s, True
            timer.callback(*timer.args)
        self.now_s = end_s
        await asyncio.sleep(0)


class Timer:
    def __init__(self, due_s, callback, args):
        self.due_s, self.callback, self.args = due_s, callback, args
        self.done = False

    def cancel(self):
        self.done = True


def test_a_body_that_is_touched_goes_on_and_a_silent_one_is_ended_in_time():
    async def test():
        clock = CountedClock()
        ended = []

        async def body():
            async with IdleTimeout(clock, 90.0) as idle:
                touches.append(idle.touch)
                await asyncio.Event().wait()

        touches = []
        task = asyncio.create_task(body())
        task.add_done_callback(ended.append)
        await asyncio.sleep(0)
        for _ in range(5):
            await clock.pass_by(60.0)
            touches[0]()
            assert not ended
        await clock.pass_by(89.0)
        assert not ended
        await clock.pass_by(1.0)
        with pytest.raises(TimeoutError):
            await task
        assert all(timer.done for timer in clock.timers)

    asyncio.run(test())


def test_a_body_that_ends_by_itself_leaves_no_timer():
    async def test():
        clock = CountedClock()
        async with IdleTimeout(clock, 90.0):
            pass
        assert all(timer.done for timer in clock.timers)

    asyncio.run(test())
