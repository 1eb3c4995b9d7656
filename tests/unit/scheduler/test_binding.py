"""From a decision to a bound pod: every extension point in order, and all undone if one fails."""

from __future__ import annotations

import asyncio

import pytest
from scheduling_objects import node, pod

from cluster.machinery import status
from cluster.scheduler.binding import Binding
from cluster.scheduler.followed import Followed
from cluster.scheduler.framework.effects import (
    BindPlugin,
    Handle,
    PermitPlugin,
    PostBindPlugin,
    PreBindPlugin,
    ReservePlugin,
    Unbindable,
)
from cluster.scheduler.framework.profile import Profile
from cluster.scheduler.plugins.priority_sort import PrioritySort

STEPS = ("reserve", "permit", "pre_bind", "bind", "post_bind")


class Clock:
    def now(self):
        return 0.0

    def call_later(self, delay_s, callback, *args):
        class Timer:
            def cancel(self):
                pass

        return Timer()


class Recorder(ReservePlugin, PermitPlugin, PreBindPlugin, BindPlugin, PostBindPlugin):
    """Notes what it is asked; `fails` at one step, with `error`."""

    name = "Recorder"

    def __init__(self, fails="", error=None, answer=True):
        self.calls, self._fails, self._answer = [], fails, answer
        self._error = error or Unbindable("no")

    def _note(self, step):
        self.calls.append(step)
        if step == self._fails:
            raise self._error

    def reserve(self, columns, item, where):
        self._note("reserve")

    def unreserve(self, columns, item, where):
        self.calls.append("unreserve")

    async def permit(self, handle, item, where):
        self._note("permit")

    async def pre_bind(self, handle, item, where):
        self._note("pre_bind")

    async def bind(self, handle, item, where):
        self._note("bind")
        return self._answer

    def post_bind(self, handle, item, where):
        self._note("post_bind")


def attempt(*plugins):
    """(reason, whether the node is taken, state of the queue)"""
    profile = Profile.of("default-scheduler", [(p, 0) for p in (PrioritySort(), *plugins)])
    followed = Followed(Clock(), {profile.name: profile}, (1.0, 10.0))
    followed.on_node("add", None, node("n0"))
    followed.on_pod("add", None, pod("p", {"cpu": "1"}))
    waiting = followed.queue.pop_now()
    handle = Handle(followed.columns, None, None, None)
    binding = Binding(handle, followed, profile, waiting, "n0")
    reason = binding.reserve() or asyncio.run(binding.finish())
    return reason, followed.columns.node_of("uid-p") == "n0", followed.queue.counts


def test_a_pod_passes_every_extension_point_in_order():
    recorder = Recorder()
    reason, taken, counts = attempt(recorder)
    assert (reason, taken) == ("", True)
    assert recorder.calls == [*STEPS]
    assert counts == {"active": 0, "backoff": 0, "parked": 0}


@pytest.mark.parametrize("step", STEPS[:-1])
def test_what_fails_on_the_way_is_undone_and_tried_again(step):
    recorder = Recorder(step)
    reason, taken, counts = attempt(recorder)
    assert (reason, taken) == ("no", False)
    assert recorder.calls == [*STEPS[: STEPS.index(step) + 1], "unreserve"]
    assert counts["backoff"] == 1


def test_an_answer_of_the_api_that_refuses_is_told():
    conflict = status.conflict("pods", "p", "pod p is already assigned to node")
    reason, taken, _ = attempt(Recorder("bind", conflict))
    assert "already assigned to node" in reason
    assert not taken


def test_the_first_bind_plugin_that_wants_the_pod_binds_it():
    class Other(Recorder):
        name = "Other"

    declines, binds, never = Recorder(answer=None), Other(), Recorder()
    never.name = "Never"
    reason, _, _ = attempt(declines, binds, never)
    assert reason == ""
    assert ("bind" in declines.calls, "bind" in binds.calls) == (True, True)
    assert "bind" not in never.calls


def test_a_pod_that_is_gone_is_not_reported_as_bound():
    reason, taken, _ = attempt(Recorder(answer=False))
    assert (reason, taken) == ("the pod is gone or has another node", False)
