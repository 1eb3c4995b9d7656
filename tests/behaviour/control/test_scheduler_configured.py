"""Schedulers as people configure them: names, extenders, groups of pods, plugins of their own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

import pytest

from cluster.machinery import meta

VERSION = {
    "apiVersion": "kubescheduler.config.k8s.io/v1",
    "kind": "KubeSchedulerConfiguration",
}


async def nodes_of(plane, count):
    async def check():
        pods = await plane.items("pods")
        found = {
            p["metadata"]["name"]: p["spec"]["nodeName"] for p in pods if p["spec"].get("nodeName")
        }
        return found if len(found) == count else None

    return await plane.until(check)


async def told(plane, name):
    async def check():
        pod = await plane.client.get("pods", name, "default")
        condition = meta.condition(pod, "PodScheduled") or {}
        return condition if condition.get("status") == "False" else None

    return await plane.until(check)


def test_schedulers_leave_the_pods_of_other_names_alone(control_plane, make):
    async def test(plane):
        await plane.client.create("nodes", make.node("n0"))
        await plane.scheduler("s0")
        other = {
            **VERSION,
            "profiles": [{"schedulerName": "other"}],
            "leaderElection": {"resourceName": "other-scheduler"},
        }
        for name in ("default-scheduler", "other", "nobody"):
            await plane.client.create("pods", make.pod(name, schedulerName=name))
        await nodes_of(plane, 1)
        await plane.scheduler("s1", configuration=other)
        assert set(await nodes_of(plane, 2)) == {"default-scheduler", "other"}

        async def reported():
            events = await plane.items("events")
            return {e["source"]["component"] for e in events if e["reason"] == "Scheduled"}

        async def both():
            return await reported() == {"default-scheduler", "other"}

        await plane.until(both)

    control_plane(test)


class ExtenderServer:
    """Lets only n1 and n2 through, likes n2, says no to pods that are named `no`, and lets nobody
    be preempted on n1."""

    def __init__(self):
        self.asked = Counter()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/ext"
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def _serve(self, reader, writer):
        while line := await reader.readline():
            path = line.split()[1].decode()
            size = 0
            while header := (await reader.readline()).strip():
                if header.lower().startswith(b"content-length:"):
                    size = int(header.split(b":")[1])
            body = json.dumps(self._answer(path, json.loads(await reader.readexactly(size))))
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    def _answer(self, path, given):
        verb = path.removeprefix("/ext/")
        self.asked[verb] += 1
        if verb == "prioritize":
            return [{"Host": n, "Score": 10 if n == "n2" else 0} for n in given["NodeNames"]]
        if verb == "preempt":
            return {"NodeNameToMetaVictims": self._victims(given)}
        if given["Pod"]["metadata"]["name"] == "no":
            return {"NodeNames": [], "FailedNodes": dict.fromkeys(given["NodeNames"], "said no")}
        left = [n for n in given["NodeNames"] if n in ("n1", "n2")]
        return {"NodeNames": left, "FailedNodes": {}}

    def _victims(self, given):
        """By uid, whether it was told pods or only their uids; n1 is left out."""
        if (known := given.get("NodeNameToMetaVictims")) is None:
            known = {
                node: {**each, "Pods": [{"UID": p["metadata"]["uid"]} for p in each["Pods"]]}
                for node, each in given["NodeNameToVictims"].items()
            }
        return {node: each for node, each in known.items() if node != "n1"}


def test_an_extender_filters_and_ranks_nodes(control_plane, make):
    async def test(plane):
        for n in range(4):
            await plane.client.create("nodes", make.node(f"n{n}"))
        async with ExtenderServer() as server:
            extender = {
                "urlPrefix": server.url,
                "filterVerb": "filter",
                "prioritizeVerb": "prioritize",
                "weight": 5,
                "nodeCacheCapable": True,
            }
            await plane.scheduler(configuration={**VERSION, "extenders": [extender]})
            for name in ("a", "b", "no"):
                await plane.client.create("pods", make.pod(name))
            assert await nodes_of(plane, 2) == {"a": "n2", "b": "n2"}
            assert (await told(plane, "no"))["message"].startswith(
                "0/4 nodes are available: 4 said no."
            )
            assert server.asked["filter"] >= 3

    control_plane(test)


def test_an_extender_that_does_not_answer_stops_pods_unless_it_may_be_ignored(control_plane, make):
    async def test(plane):
        await plane.client.create("nodes", make.node("n0"))
        dead = {"urlPrefix": "http://127.0.0.1:1/ext", "filterVerb": "filter"}
        profile = [{"schedulerName": "strict"}]
        first = {**VERSION, "extenders": [dead], "profiles": profile}
        second = {
            **VERSION,
            "extenders": [{**dead, "ignorable": True}],
            "leaderElection": {"resourceName": "second"},
        }
        await plane.scheduler("s0", configuration=first)
        await plane.scheduler("s1", configuration=second)
        await plane.client.create("pods", make.pod("strict", schedulerName="strict"))
        await plane.client.create("pods", make.pod("lenient"))
        assert set(await nodes_of(plane, 1)) == {"lenient"}
        assert (await told(plane, "strict"))["reason"] == "SchedulerError"

    control_plane(test)


@pytest.mark.parametrize("cached", [False, True], ids=["pods are sent", "only their names are"])
def test_an_extender_rules_out_nodes_on_which_room_could_be_made(control_plane, make, cached):
    async def test(plane):
        for name, value in (("lowest", 1), ("low", 2), ("high", 1000)):
            await plane.client.create("priorityclasses.scheduling.k8s.io", make_class(name, value))
        async with ExtenderServer() as server:
            extender = {
                "urlPrefix": server.url,
                "preemptVerb": "preempt",
                "nodeCacheCapable": cached,
            }
            await plane.scheduler(configuration={**VERSION, "extenders": [extender]})
            for n, priority in ((1, "lowest"), (2, "low")):
                await plane.client.create("nodes", make.node(f"n{n}", cpu="1"))
                spec = {"priorityClassName": priority, "terminationGracePeriodSeconds": 0}
                await plane.client.create("pods", make.pod(priority, cpu="800m", **spec))
                await nodes_of(plane, n)
            boss = make.pod("boss", cpu="600m", priorityClassName="high")
            await plane.client.create("pods", boss)

            async def settled():
                pods = await plane.items("pods")
                where = {p["metadata"]["name"]: p["spec"].get("nodeName") for p in pods}
                return where == {"lowest": "n1", "boss": "n2"}

            await plane.until(settled)
            assert server.asked["preempt"] >= 1

    control_plane(test)


def make_class(name, value):
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
    }


def test_a_group_of_pods_is_scheduled_at_once_or_waits(control_plane, make):
    async def test(plane):
        gang = {"multiPoint": {"enabled": [{"name": "GangScheduling"}]}}
        configuration = {**VERSION, "profiles": [{"plugins": gang}]}
        await plane.client.create("nodes", make.node("n0", cpu="2"))
        await plane.scheduler(configuration=configuration)
        for n in range(3):
            pod = make.pod(f"g{n}", cpu="1")
            pod["metadata"]["labels"] = {
                "pod-group.scheduling.sigs.k8s.io/name": "job",
                "pod-group.scheduling.sigs.k8s.io/min-available": "3",
            }
            await plane.client.create("pods", pod)
        await plane.client.create("pods", make.pod("single", cpu="500m"))
        assert set(await nodes_of(plane, 1)) == {"single"}

        async def refused():
            messages = [(await told(plane, f"g{n}"))["message"] for n in range(3)]
            return any("2 of the 3 pods needed fit" in message for message in messages)

        await plane.until(refused)
        await plane.client.create("nodes", make.node("n1", cpu="2"))
        found = await nodes_of(plane, 4)
        assert Counter(found[f"g{n}"] for n in range(3)) == {"n0": 1, "n1": 2}

    control_plane(test)


PLUGIN = """
from cluster.scheduler.framework import FilterPlugin, Rejection
from cluster.scheduler.framework.effects import BindPlugin, Unbindable


class FailsOnce(BindPlugin):
    name = "FailsOnce"
    failed = 0

    async def bind(self, handle, pod, node):
        if pod.name == "g1" and not self.failed:
            self.failed += 1
            raise Unbindable("not now")
        return None


class OnlyBlue(FilterPlugin):
    name = "OnlyBlue"

    def filter(self, view, pod):
        yield Rejection(~view.label_in("color", ["blue"]), "node(s) were not blue")


class Broken(FilterPlugin):
    name = "Broken"

    def filters(self, pod, columns):
        return pod.name == "poison"

    def filter(self, view, pod):
        raise RuntimeError("no")
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (tmp_path / "own_plugins.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield ["own_plugins:OnlyBlue", "own_plugins:Broken", "own_plugins:FailsOnce"]
    sys.modules.pop("own_plugins", None)


def test_plugins_of_users_take_part_and_a_broken_one_stops_no_others(control_plane, make, plugins):
    async def test(plane):
        enabled = [{"name": "OnlyBlue"}, {"name": "Broken"}]
        configuration = {**VERSION, "profiles": [{"plugins": {"multiPoint": {"enabled": enabled}}}]}
        for n, color in enumerate(("red", "blue")):
            await plane.client.create("nodes", make.node(f"n{n}", labels={"color": color}))
        scheduler = await plane.scheduler(configuration=configuration, plugins=plugins)
        await plane.client.create("pods", make.pod("poison"))
        await plane.client.create("pods", make.pod("p0"))
        assert await nodes_of(plane, 1) == {"p0": "n1"}
        assert (await told(plane, "poison"))["reason"] == "SchedulerError"
        lines = [*scheduler.metrics()]
        name = 'scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"}'
        assert f"{name} 1" in lines

    control_plane(test)


def test_a_group_goes_on_when_the_binding_of_one_of_its_pods_fails(control_plane, make, plugins):
    """What is bound stays: a binding cannot be taken back, only the pod can be deleted."""

    async def test(plane):
        binds = {"disabled": [{"name": "*"}], "enabled": [{"name": "FailsOnce"}]}
        binds["enabled"].append({"name": "DefaultBinder"})
        enabled = {"multiPoint": {"enabled": [{"name": "GangScheduling"}]}, "bind": binds}
        configuration = {**VERSION, "profiles": [{"plugins": enabled}]}
        await plane.client.create("nodes", make.node("n0", cpu="3"))
        await plane.scheduler(configuration=configuration, plugins=plugins)
        uids = set()
        for n in range(3):
            pod = make.pod(f"g{n}", cpu="1")
            pod["metadata"]["labels"] = {
                "pod-group.scheduling.sigs.k8s.io/name": "job",
                "pod-group.scheduling.sigs.k8s.io/min-available": "3",
            }
            uids.add((await plane.client.create("pods", pod))["metadata"]["uid"])

        async def told_of_it():
            events = await plane.items("events")
            return any(e["message"] == "not now" for e in events)

        await plane.until(told_of_it)
        assert set((await nodes_of(plane, 3)).values()) == {"n0"}
        assert {p["metadata"]["uid"] for p in await plane.items("pods")} == uids

    control_plane(test)
