"""What the API tells, in whatever order, and what the scheduler then believes."""

from __future__ import annotations

import pytest
from scheduling_objects import node, pod

from cluster.scheduler.columns import View
from cluster.scheduler.followed import Followed
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.profiles import default_profile


class Clock:
    def __init__(self):
        self.time_s = 0.0

    def now(self):
        return self.time_s

    def call_later(self, delay_s, callback, *args):
        raise AssertionError("no pod backs off here")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def followed(clock):
    found = Followed(clock, {"default-scheduler": default_profile()}, (1.0, 10.0))
    found.on_node("add", None, node("n0"))
    return found


def bound(made, where="n0", phase="Pending"):
    return {**made, "spec": {**made["spec"], "nodeName": where}, "status": {"phase": phase}}


def cpu(followed):
    return int(View(followed.columns).requested("cpu")[0])


def test_a_pod_that_waits_is_queued_and_one_of_another_scheduler_is_not(followed):
    followed.on_pod("add", None, pod("a"))
    followed.on_pod("add", None, pod("b", schedulerName="other"))
    assert [waiting.name for waiting in followed.queue.pods()] == ["a"]


def test_an_assumed_pod_counts_until_the_api_tells_where_it_is(followed):
    made = pod("a", {"cpu": "1"})
    followed.on_pod("add", None, made)
    followed.assume(PodInfo.of(made), "n0")
    assert cpu(followed) == 1000
    followed.on_pod("update", made, {**made, "status": {"phase": "Pending"}})
    assert cpu(followed) == 1000
    followed.on_pod("update", made, bound(made))
    assert (cpu(followed), followed.assumed, len(followed.queue)) == (1000, {}, 0)


def test_a_binding_that_failed_gives_the_room_back_once(followed):
    info = PodInfo.of(pod("a", {"cpu": "1"}))
    followed.assume(info, "n0")
    assert followed.forget(info)
    assert not followed.forget(info)
    assert cpu(followed) == 0


def test_a_binding_that_the_api_confirmed_is_not_taken_back(followed):
    made = pod("a", {"cpu": "1"})
    info = PodInfo.of(made)
    followed.assume(info, "n0")
    followed.on_pod("add", None, bound(made))
    assert not followed.forget(info)
    assert cpu(followed) == 1000


def test_pods_that_end_or_go_free_their_room(followed):
    for name, phase in (("a", "Succeeded"), ("b", "Failed")):
        made = pod(name, {"cpu": "1"})
        followed.on_pod("add", None, bound(made))
        followed.on_pod("update", bound(made), bound(made, phase=phase))
    made = pod("c", {"cpu": "1"})
    followed.on_pod("add", None, bound(made))
    followed.on_pod("delete", bound(made), None)
    assert cpu(followed) == 0


def test_an_assumption_that_the_api_is_silent_about_is_asked_about(followed, clock):
    gone, there = PodInfo.of(pod("gone", {"cpu": "1"})), pod("there", {"cpu": "1"})
    followed.assume(gone, "n0")
    followed.assume(PodInfo.of(there), "n0")
    assert followed.overdue(0.0) == []
    clock.time_s = 100.0
    assert len(followed.overdue(40.0)) == 2
    followed.confirm(gone.uid, gone, None)
    followed.confirm("uid-there", PodInfo.of(there), bound(there))
    assert (cpu(followed), followed.assumed) == (1000, {})


def test_pods_on_a_node_that_comes_again_still_count(followed):
    followed.on_pod("add", None, bound(pod("a", {"cpu": "1"})))
    followed.on_node("delete", node("n0"), None)
    followed.on_node("add", None, node("n0"))
    assert cpu(followed) == 1000


def test_a_pod_that_is_resized_counts_what_it_has_and_what_it_asks_for(followed):
    made = bound(pod("a", {"cpu": "1"}))
    followed.on_pod("add", None, made)
    had = {"name": "c", "resources": {"requests": {"cpu": "3"}}}
    resized = {**made, "status": {"phase": "Running", "containerStatuses": [had]}}
    followed.on_pod("update", made, resized)
    assert cpu(followed) == 3000


def test_a_nomination_is_known_from_the_api_and_ends_with_it(followed):
    made = pod("a")
    nominated = {**made, "status": {"nominatedNodeName": "n0"}}
    followed.on_pod("add", None, nominated)
    assert followed.nominations.node_of("uid-a") == "n0"
    followed.on_pod("update", nominated, made)
    assert followed.nominations.node_of("uid-a") == ""
