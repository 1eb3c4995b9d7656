from __future__ import annotations

import asyncio

import pytest

from cluster.scheduler.queue import SchedulingQueue


class ManualClock:
    def __init__(self):
        self.time_s = 100.0
        self.timers = []

    def now(self):
        return self.time_s

    def call_later(self, delay_s, callback, *args):
        timer = Timer(self.time_s + delay_s, callback, args)
        self.timers.append(timer)
        return timer

    def advance(self, seconds):
        self.time_s += seconds
        for timer in list(self.timers):
            if timer.due_s <= self.time_s and timer.live:
                timer.live = False
                timer.callback(*timer.args)


class Timer:
    def __init__(self, due_s, callback, args):
        self.due_s, self.callback, self.args, self.live = due_s, callback, args, True

    def cancel(self):
        self.live = False


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def queue(clock):
    return SchedulingQueue(clock)


def pop(queue):
    async def take():
        async with asyncio.timeout(2):
            return await queue.pop()

    return asyncio.run(take())


def test_higher_priority_goes_first_then_who_waits_longer(queue, clock):
    for key, priority in (("late", 0), ("high", 5), ("later", 0)):
        queue.add(key, key, priority)
        clock.advance(1)
    assert [pop(queue).key for _ in range(3)] == ["high", "late", "later"]


def test_a_parked_pod_comes_back_after_a_change_and_its_back_off(queue, clock):
    queue.add("a", "u", 0)
    queue.park(pop(queue))
    assert queue.counts == {"active": 0, "backoff": 0, "parked": 1}
    queue.move_all()
    assert queue.counts["backoff"] == 1
    clock.advance(1.1)
    pod = pop(queue)
    assert (pod.key, pod.attempts) == ("a", 1)


def test_a_change_while_a_pod_is_tried_is_not_missed(queue, clock):
    queue.add("a", "u", 0)
    pod = pop(queue)
    queue.move_all()
    queue.park(pod)
    assert queue.counts == {"active": 0, "backoff": 1, "parked": 0}


def test_back_off_grows_to_ten_seconds(queue, clock):
    queue.add("a", "u", 0)
    delays = []
    for _ in range(6):
        queue.retry(pop(queue))
        delays.append(clock.timers[-1].due_s - clock.now())
        clock.advance(20)
    assert delays == [1, 2, 4, 8, 10, 10]


def test_a_removed_pod_is_not_given_out(queue, clock):
    queue.add("a", "u", 0)
    queue.add("b", "v", 0)
    queue.remove("a")
    assert pop(queue).key == "b"
    queue.retry(pod := queue._pods["b"])
    queue.remove("b")
    clock.advance(60)
    queue.park(pod)
    assert len(queue) == 0


def test_finishing_a_pod_leaves_another_of_its_name_alone(queue):
    queue.add("a", "u1", 0)
    old = pop(queue)
    queue.add("a", "u2", 0)
    queue.finish(old)
    assert pop(queue).uid == "u2"


def test_pods_parked_for_long_are_tried_again_anyway(queue, clock):
    queue.add("a", "u", 0)
    queue.park(pop(queue))
    clock.advance(200)
    queue.flush()
    assert queue.counts["parked"] == 1
    clock.advance(200)
    queue.flush()
    assert queue.counts["active"] == 1
