from __future__ import annotations

import asyncio

import pytest
from scheduling_objects import columns_of, node
from scheduling_objects import pod as make_pod

from cluster.scheduler.framework.events import ClusterEvent
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.profiles import default_profile
from cluster.scheduler.queue.hints import rules
from cluster.scheduler.queue.queue import SchedulingQueue

FIT, AFFINITY, TAINTS = "NodeResourcesFit", "NodeAffinity", "TaintToleration"


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
def columns():
    return columns_of([node("n0")])


@pytest.fixture
def queue(clock, columns):
    return SchedulingQueue(clock, rules(columns, {"default-scheduler": default_profile()}))


def info(name, uid="", **spec):
    made = make_pod(name, **spec)
    made["metadata"]["uid"] = uid or name
    return PodInfo.of(made)


def pop(queue):
    async def take():
        async with asyncio.timeout(2):
            return await queue.pop()

    return asyncio.run(take())


GONE = ClusterEvent("pods", "delete", make_pod("other"))


def test_higher_priority_goes_first_then_who_waits_longer(queue, clock):
    for name, priority in (("late", 0), ("high", 5), ("later", 0)):
        queue.add(info(name, priority=priority))
        clock.advance(1)
    assert [pop(queue).pod.name for _ in range(3)] == ["high", "late", "later"]


def test_a_parked_pod_comes_back_after_a_change_and_its_back_off(queue, clock):
    queue.add(info("a"))
    queue.park(pop(queue), [FIT])
    assert queue.counts == {"active": 0, "backoff": 0, "parked": 1}
    queue.happened(GONE)
    assert queue.counts["backoff"] == 1
    clock.advance(1.1)
    assert pop(queue).attempts == 1


def test_a_change_that_cannot_help_leaves_a_parked_pod_alone(queue, columns):
    queue.add(info("a", nodeSelector={"disk": "ssd"}))
    queue.park(pop(queue), [AFFINITY])
    queue.happened(GONE)
    wrong = node("n1", labels={"disk": "hdd"})
    columns.put_node(wrong)
    queue.happened(ClusterEvent("nodes", "add", None, wrong))
    assert queue.counts["parked"] == 1
    right = node("n2", labels={"disk": "ssd"})
    columns.put_node(right)
    queue.happened(ClusterEvent("nodes", "add", None, right))
    assert queue.counts["parked"] == 0


def test_a_node_that_is_too_small_does_not_wake_a_pod_for_which_nodes_were_full(queue):
    queue.add(info("a", requests={"cpu": "6"}))
    queue.park(pop(queue), [FIT])
    small, grown = node("n1", cpu=4000), node("n1", cpu=8000)
    queue.happened(ClusterEvent("nodes", "add", None, small))
    assert queue.counts["parked"] == 1
    queue.happened(ClusterEvent("nodes", "update", small, grown))
    assert queue.counts["parked"] == 0


def test_a_change_while_a_pod_is_tried_is_not_missed(queue):
    queue.add(info("a"))
    pod = pop(queue)
    queue.happened(GONE)
    queue.park(pod, [FIT])
    assert queue.counts == {"active": 0, "backoff": 1, "parked": 0}


def test_more_changes_than_are_remembered_count_as_one_that_helps(queue):
    queue.add(info("a"))
    pod = pop(queue)
    for _ in range(queue.remembered + 1):
        queue.happened(ClusterEvent("services", "add", None, {}))
    queue.park(pod, [FIT])
    assert queue.counts["backoff"] == 1


def test_a_gated_pod_waits_until_its_gates_are_gone(queue):
    queue.add(info("a", schedulingGates=[{"name": "example.com/g"}]))
    queue.happened(GONE)
    assert queue.counts == {"active": 0, "backoff": 0, "parked": 1}
    queue.add(info("a"))
    assert pop(queue).attempts == 0


def test_back_off_grows_to_ten_seconds(queue, clock):
    queue.add(info("a"))
    delays = []
    for _ in range(6):
        queue.retry(pop(queue))
        delays.append(clock.timers[-1].due_s - clock.now())
        clock.advance(20)
    assert delays == [1, 2, 4, 8, 10, 10]


def test_a_removed_pod_is_not_given_out(queue, clock):
    queue.add(info("a"))
    queue.add(info("b"))
    queue.remove("ns/a")
    pod = pop(queue)
    assert pod.pod.name == "b"
    queue.retry(pod)
    queue.remove("ns/b")
    clock.advance(60)
    queue.park(pod, [FIT])
    assert len(queue) == 0


def test_finishing_a_pod_leaves_another_of_its_name_alone(queue):
    queue.add(info("a", "u1"))
    old = pop(queue)
    queue.add(info("a", "u2"))
    queue.finish(old)
    assert pop(queue).pod.uid == "u2"


def test_a_pod_whose_priority_changes_takes_its_new_place(queue):
    queue.add(info("a", priority=1))
    queue.add(info("b", priority=2))
    queue.add(info("a", priority=3))
    assert [pop(queue).pod.name for _ in range(2)] == ["a", "b"]
    assert queue.pop_now() is None


def test_pods_parked_for_long_are_tried_again_anyway(queue, clock):
    queue.add(info("a"))
    queue.park(pop(queue), [TAINTS])
    clock.advance(200)
    queue.flush()
    assert queue.counts["parked"] == 1
    clock.advance(200)
    queue.flush()
    assert queue.counts["active"] == 1
