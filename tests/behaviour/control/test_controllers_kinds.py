"""Every kind of workload with the real kubectl: create, update, roll back, scale, delete with each
propagation policy, adopt and orphan, and one node that dies in the middle."""

from __future__ import annotations

import asyncio
import copy
import json

import pytest

from cluster.client import ClientConfig
from cluster.simulation.kubelet import Kubelet

ROLLS = ("deployment", "statefulset", "daemonset")
SCALES = ("deployment", "replicaset", "replicationcontroller", "statefulset")
CASCADES = ("background", "foreground", "orphan")
NODES = 3


def manifest(kind, name="web"):
    """Three pods of that kind (a DaemonSet: one on each of the three nodes)."""
    return copy.deepcopy(MAKERS[kind](name))


def _template(name):
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "sim:v1"}]},
    }


def _work(seconds):
    template = _template("work")
    template["metadata"] = {"annotations": {"sim/run-s": str(seconds)}}
    template["spec"]["restartPolicy"] = "Never"
    return template


def _apps(kind, name, **spec):
    selector = {"matchLabels": {"app": name}}
    spec = {"selector": selector, "template": _template(name), **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _controller(name):
    spec = {"replicas": 3, "selector": {"app": name}, "template": _template(name)}
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "ReplicationController", "metadata": metadata, "spec": spec}


def _job(name, seconds=600):
    spec = {"completions": 3, "parallelism": 3, "template": _work(seconds)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def _cronjob(name):
    job = _job(name)
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job["spec"]}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


MAKERS = {
    "deployment": lambda name: _apps("Deployment", name, replicas=3),
    "replicaset": lambda name: _apps("ReplicaSet", name, replicas=3),
    "replicationcontroller": _controller,
    "statefulset": lambda name: _apps(
        "StatefulSet", name, replicas=3, serviceName=name, podManagementPolicy="Parallel"
    ),
    "daemonset": lambda name: _apps("DaemonSet", name),
    "job": _job,
    "cronjob": _cronjob,
}


class Fleet:
    """A control plane with three nodes, of which some die."""

    def __init__(self, plane):
        self.plane = plane
        self.kubelets = {}

    async def start(self):
        await self.plane.manager(node_grace_s=6.0, eviction_toleration_s=1.0, gone_node_grace_s=1.0)
        await self.plane.scheduler()
        config = ClientConfig.from_dict(self.plane.client_config)
        for number in range(NODES):
            name = f"node-{number}"
            self.kubelets[name] = Kubelet(name, {}, _ignore, pace=0.1)
            await self.kubelets[name].start(self.plane.seams, config)

    async def stop(self):
        for name in list(self.kubelets):
            await self.power_off(name)

    async def power_off(self, name):
        await self.kubelets.pop(name).stop()

    async def kubectl(self, *arguments):
        return await self.plane.kubectl(*arguments)

    async def apply(self, obj, verb="create"):
        path = self.plane.folder / f"{obj['kind']}-{obj['metadata']['name']}.json"
        path.write_text(json.dumps(obj))
        await self.kubectl(verb, "-f", str(path))

    async def pods(self, name="web"):
        found = await self.plane.items("pods")
        return [p for p in found if p["metadata"]["name"].startswith(f"{name}-")]

    async def running(self, count, name="web", image="sim:v1"):
        async def all_run():
            pods = [p for p in await self.pods(name) if not _going(p)]
            ready = [p for p in pods if _ready(p) and _image(p) == image]
            return len(ready) == len(pods) == count and ready

        return await self.plane.until(all_run, timeout_s=40)

    async def running_elsewhere(self, count, image, victim):
        """As many as asked for run on other nodes; those of the dead one cannot be asked to end."""

        async def enough():
            pods = [p for p in await self.pods() if p["spec"].get("nodeName") != victim]
            ready = [p for p in pods if not _going(p) and _ready(p) and _image(p) == image]
            return len(ready) == count

        await self.plane.until(enough, timeout_s=40)

    async def none(self, name):
        async def no_pods():
            return not await self.pods(name)

        await self.plane.until(no_pods, timeout_s=30)


def _ignore(node, container):
    """Nobody counts containers here."""


def _going(pod):
    return "deletionTimestamp" in pod["metadata"]


def _ready(pod):
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _image(pod):
    return pod["spec"]["containers"][0]["image"]


def _uids(pods):
    return {pod["metadata"]["uid"] for pod in pods}


@pytest.fixture
def fleet(control_plane):
    def run(test):
        async def body(plane):
            fleet = Fleet(plane)
            await fleet.start()
            try:
                await test(fleet)
            finally:
                await fleet.stop()

        control_plane(body, timeout_s=150)

    return run


@pytest.mark.parametrize("kind", sorted({*ROLLS, *SCALES}))
def test_a_workload_is_updated_rolled_back_and_scaled(fleet, kind):
    async def test(fleet):
        target = f"{kind}/web"
        await fleet.apply(manifest(kind))
        await fleet.running(3)
        if kind in ROLLS:
            await fleet.kubectl("rollout", "status", target, "--timeout=60s")
            await fleet.kubectl("set", "image", target, "c=sim:v2")
            await fleet.kubectl("rollout", "status", target, "--timeout=60s")
            await fleet.running(3, image="sim:v2")
            await fleet.kubectl("rollout", "undo", target)
            await fleet.kubectl("rollout", "status", target, "--timeout=60s")
            await fleet.running(3, image="sim:v1")
            history = await fleet.kubectl("rollout", "history", target)
            assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["2", "3"]
        if kind in SCALES:
            await fleet.kubectl("scale", target, "--replicas=5")
            await fleet.running(5)
            await fleet.kubectl("scale", target, "--current-replicas=5", "--replicas=1")
            left = await fleet.running(1)
            assert kind != "statefulset" or left[0]["metadata"]["name"] == "web-0"

    fleet(test)


def test_a_job_is_suspended_resumed_and_made_narrower(fleet):
    async def test(fleet):
        await fleet.apply(manifest("job"))
        await fleet.running(3)
        await fleet.kubectl("patch", "job/web", "-p", '{"spec":{"suspend":true}}')
        await fleet.none("web")
        change = '{"spec":{"suspend":false,"parallelism":1}}'
        await fleet.kubectl("patch", "job/web", "-p", change)
        await fleet.running(1)

    fleet(test)


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "cronjob"])
def test_a_workload_is_deleted_with_each_propagation_policy(fleet, kind):
    """Orphans stay, and are taken by the next owner that asks for such pods (not by a Job)."""

    async def test(fleet):
        names = [f"w{cascade[:2]}" for cascade in CASCADES]
        for name in names:
            await fleet.apply(manifest(kind, name))
        before = await asyncio.gather(*(fleet.running(3, name) for name in names))
        for name, cascade in zip(names, CASCADES, strict=True):
            await fleet.kubectl("delete", f"{kind}/{name}", f"--cascade={cascade}")
        if kind == "deployment":  # Its ReplicaSet is what was orphaned.
            for each in await fleet.plane.items("replicasets.apps"):
                assert each["metadata"]["name"].startswith(f"{names[2]}-")
                assert not each["metadata"].get("ownerReferences")
        await fleet.none(names[0])
        await fleet.none(names[1])
        orphans = await fleet.running(3, names[2])
        assert _uids(orphans) == _uids(before[2])
        await fleet.apply(manifest(kind, names[2]))
        if kind == "job":
            await fleet.running(6, names[2])
            return

        async def adopted():
            pods = await fleet.pods(names[2])
            owned = [p for p in pods if p["metadata"].get("ownerReferences")]
            return len(owned) == len(pods) == 3 and pods

        assert _uids(await fleet.plane.until(adopted)) == _uids(orphans)

    fleet(test)


def test_jobs_of_a_cronjob_go_with_it_or_stay(fleet):
    async def test(fleet):
        for cascade in CASCADES:
            await fleet.apply(manifest("cronjob", cascade))
            source = f"--from=cronjob/{cascade}"
            await fleet.kubectl("create", "job", f"{cascade}-now", source)
            await fleet.running(3, cascade)
            await fleet.kubectl("delete", f"cronjob/{cascade}", f"--cascade={cascade}")
        await fleet.plane.gone("jobs.batch", "background-now")
        await fleet.plane.gone("jobs.batch", "foreground-now")
        await fleet.none("background")
        await fleet.none("foreground")
        assert await fleet.kubectl("get", "jobs", "-o", "name") == "job.batch/orphan-now\n"
        await fleet.running(3, "orphan")

    fleet(test)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_node_that_dies_in_the_middle_holds_up_no_workload(fleet, kind):
    """In the middle of an update where there are updates, else of the first start. The node never
    comes back: an administrator deletes it, and then even identities are free again."""

    async def test(fleet):
        await fleet.apply(_job("web", 3) if kind == "job" else manifest(kind))
        image = "sim:v1"
        if kind == "cronjob":
            await fleet.kubectl("create", "job", "web-now", "--from=cronjob/web")
        if kind in ROLLS:
            await fleet.running(3)
            await fleet.kubectl("set", "image", f"{kind}/web", "c=sim:v2")
            image = "sim:v2"
        victim = await _victim(fleet)
        await fleet.power_off(victim)
        if kind not in ("daemonset", "statefulset", "cronjob", "job"):
            await fleet.running_elsewhere(3, image, victim)
        await fleet.kubectl("delete", f"node/{victim}")
        if kind == "job":
            await fleet.kubectl("wait", "job/web", "--for=condition=complete", "--timeout=60s")
            job = await fleet.plane.client.get("jobs.batch", "web", "default")
            assert job["status"]["succeeded"] == 3
            return
        await fleet.running(2 if kind == "daemonset" else 3, image=image)

        async def forgotten():
            return not [p for p in await fleet.pods() if p["spec"].get("nodeName") == victim]

        await fleet.plane.until(forgotten, timeout_s=30)

    fleet(test)


async def _victim(fleet):
    """A node that has a pod by now."""

    async def has_pod():
        nodes = [p["spec"].get("nodeName") for p in await fleet.pods()]
        return sorted(filter(None, nodes))

    return (await fleet.plane.until(has_pod))[0]


def test_a_budget_counts_pods_of_a_dead_node_as_lost(fleet):
    async def test(fleet):
        await fleet.apply(manifest("statefulset"))
        pods = await fleet.running(3)
        await fleet.kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=2")
        victim = pods[0]["spec"]["nodeName"]
        on_it = [p for p in pods if p["spec"]["nodeName"] == victim]
        await fleet.power_off(victim)

        async def noticed():
            budget = await fleet.plane.client.get("poddisruptionbudgets.policy", "web", "default")
            return (budget.get("status") or {}).get("currentHealthy") == 3 - len(on_it)

        await fleet.plane.until(noticed, timeout_s=30)
        other = next(p for p in pods if p["spec"]["nodeName"] != victim)
        node = other["spec"]["nodeName"]
        with pytest.raises(AssertionError, match=r"disruption budget|global timeout"):
            await fleet.kubectl("drain", node, "--timeout=2s", "--ignore-daemonsets", "--force")

    fleet(test)
