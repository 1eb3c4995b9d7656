"""Simulated nodes under a real API server, scheduler and controllers, with the real kubectl."""

from __future__ import annotations

import asyncio

import pytest

from cluster.kubelet.simulated import registration
from cluster.kubelet.simulated.nodes import Model
from cluster.machinery import meta

ANNOTATION = "raykube.dev/simulate"


def phases(pods):
    return sorted(pod["status"]["phase"] for pod in pods)


def ready(pods):
    return [pod for pod in pods if meta.condition_is(pod, "Ready")]


def bound(make, name, node, text="", **spec):
    pod = make.pod(name, nodeName=node, **spec)
    pod["metadata"]["annotations"] = {ANNOTATION: text} if text else {}
    return pod


def test_a_deployment_runs_on_simulated_nodes_rolls_over_and_goes(control_plane, make):
    async def body(plane):
        await plane.manager(controllers=["deployment", "replicaset", "garbage-collector"])
        await plane.scheduler()
        await plane.fleet()
        await plane.nodes(5, Model(zones=("a", "b")))
        await plane.client.create("deployments.apps", make.deployment(replicas=20))

        async def all_ready():
            return len(ready(await plane.items("pods"))) == 20

        await plane.until(all_ready)
        pods = await plane.items("pods")
        assert len({pod["status"]["podIP"] for pod in pods}) == 20
        assert {pod["spec"]["nodeName"] for pod in pods} == {f"sim-{n}" for n in range(5)}
        changed = make.deployment(replicas=20, image="v2")
        patch = {"spec": {"template": changed["spec"]["template"]}}
        await plane.client.patch("deployments.apps", "web", patch, "default")

        async def rolled_over():
            pods = await plane.items("pods")
            images = {pod["spec"]["containers"][0]["image"] for pod in pods}
            return images == {"v2"} and len(ready(pods)) == len(pods) == 20

        await plane.until(rolled_over)
        await plane.client.delete("deployments.apps", "web", "default", propagation="Background")

        async def gone():
            return not await plane.items("pods")

        await plane.until(gone)

    control_plane(body)


def test_jobs_complete_and_their_failures_count(control_plane):
    async def body(plane):
        await plane.manager(controllers=["job"])
        await plane.scheduler()
        await plane.fleet()
        await plane.nodes(2)
        for name, text in (("good", "{exit: {after: 100ms}}"), ("bad", "{exit: {code: 4}}")):
            template = {
                "metadata": {"annotations": {ANNOTATION: text}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
            }
            spec = {"template": template, "completions": 2, "parallelism": 2, "backoffLimit": 0}
            job = {"apiVersion": "batch/v1", "kind": "Job", "spec": spec}
            job["metadata"] = {"name": name, "namespace": "default"}
            await plane.client.create("jobs.batch", job)

        async def ended():
            jobs = {job["metadata"]["name"]: job for job in await plane.items("jobs.batch")}
            good, bad = jobs["good"], jobs["bad"]
            return meta.condition_is(good, "Complete") and meta.condition_is(bad, "Failed")

        await plane.until(ended)

    control_plane(body)


def test_what_does_not_fit_is_refused_and_bad_data_is_told_in_the_status(control_plane, make):
    async def body(plane):
        await plane.fleet()
        await plane.nodes(1, Model(pods=2, cpu="1"))
        for pod in (
            bound(make, "large", "sim-0", cpu="2"),
            bound(make, "fits", "sim-0"),
            bound(make, "odd", "sim-0", "{redy: 1s}"),
        ):
            await plane.client.create("pods", pod)

        async def told():
            pods = {pod["metadata"]["name"]: pod["status"] for pod in await plane.items("pods")}
            statuses = pods["odd"].get("containerStatuses") or [{}]
            waiting = (statuses[0].get("state") or {}).get("waiting") or {}
            return (
                pods["large"].get("reason") == "OutOfcpu"
                and pods["fits"]["phase"] == "Running"
                and waiting.get("reason") == "InvalidSimulation"
                and "unknown key 'redy'" in waiting["message"]
            )

        await plane.until(told)

    control_plane(body)


def test_rules_in_the_config_map_hold_at_once_and_bad_ones_change_nothing(control_plane, make):
    async def body(plane):
        fleet = await plane.fleet()
        await plane.nodes(1)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
        if not any(
            n["metadata"]["name"] == "kube-system" for n in await plane.items("namespaces", "")
        ):
            await plane.client.create("namespaces", namespace)
        name = {"name": "simulated-nodes", "namespace": "kube-system"}
        rules = {"behaviours.yaml": "- {match: {labels: {app: x}}, ready: 1h}"}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": rules}
        await plane.client.create("configmaps", config)
        await asyncio.sleep(0.2)
        await plane.client.create("pods", bound(make, "p", "sim-0"))

        async def running():
            return phases(await plane.items("pods")) == ["Running"]

        await plane.until(running)
        assert not ready(await plane.items("pods"))
        bad = {"data": {"behaviours.yaml": "- {ready: never}"}}
        await plane.client.patch("configmaps", "simulated-nodes", bad, "kube-system")

        async def complains():
            return "'never' is no time" in (await fleet.health()).detail

        await plane.until(complains)
        assert not ready(await plane.items("pods"))
        await plane.client.delete("configmaps", "simulated-nodes", "kube-system")

        async def is_ready():
            return ready(await plane.items("pods"))

        await plane.until(is_ready)

    control_plane(body)


def test_a_node_without_power_is_silent_and_comes_back(control_plane, make):
    async def body(plane):
        await plane.manager(controllers=["node-lifecycle", "taint-eviction"], node_grace_s=1.5)
        await plane.fleet(lease_s=2.0)
        await plane.nodes(2)
        for name in ("p", "q"):
            await plane.client.create("pods", bound(make, name, "sim-0"))

        async def are_ready():
            return len(ready(await plane.items("pods"))) == 2

        await plane.until(are_ready)
        off = {"metadata": {"annotations": {ANNOTATION: "{power: off}"}}}
        await plane.client.patch("nodes", "sim-0", off)

        def of(status):
            async def check():
                nodes = {n["metadata"]["name"]: n for n in await plane.items("nodes", "")}
                return meta.condition_is(nodes["sim-0"], "Ready", status) and meta.condition_is(
                    nodes["sim-1"], "Ready"
                )

            return check

        await plane.until(of("Unknown"))

        async def none_ready():
            return not ready(await plane.items("pods"))

        await plane.until(none_ready)
        await plane.client.delete("pods", "p", "default")
        await asyncio.sleep(0.3)
        assert (await plane.items("pods"))[0]["metadata"]["deletionTimestamp"]
        on = {"metadata": {"annotations": {ANNOTATION: None}}}
        await plane.client.patch("nodes", "sim-0", on)
        await plane.until(of("True"))

        async def as_before():
            left = ready(await plane.items("pods"))
            return [pod["metadata"]["name"] for pod in left] == ["q"]

        await plane.until(as_before)

    control_plane(body)


def test_another_fleet_of_the_name_goes_on_where_the_first_was_killed(control_plane, make):
    async def body(plane):
        first = await plane.fleet()
        await plane.nodes(3)
        for number in range(9):
            await plane.client.create("pods", bound(make, f"p{number}", f"sim-{number % 3}"))

        async def running():
            return len(ready(await plane.items("pods"))) == 9

        await plane.until(running)
        before = {p["metadata"]["name"]: p for p in await plane.items("pods")}
        await plane.stop(first)
        await plane.client.delete("pods", "p0", "default")
        await plane.client.create("pods", bound(make, "late", "sim-0"))
        await plane.fleet()

        async def settled():
            pods = {p["metadata"]["name"]: p for p in await plane.items("pods")}
            return "p0" not in pods and meta.condition_is(pods["late"], "Ready")

        await plane.until(settled)
        after = {p["metadata"]["name"]: p for p in await plane.items("pods")}
        version = "resourceVersion"
        for name in before.keys() - {"p0"}:
            assert after[name]["metadata"][version] == before[name]["metadata"][version]
        others = [p["status"]["podIP"] for name, p in after.items() if name != "late"]
        assert after["late"]["status"]["podIP"] not in others

    control_plane(body)


def test_fleets_share_the_nodes_and_removed_nodes_are_gone(control_plane, make):
    async def body(plane):
        one, two = await plane.fleet("fleet-0"), await plane.fleet("fleet-1")
        names = await plane.nodes(6, fleets=("fleet-0", "fleet-1"))
        assert [(await f.health()).facts["nodes"] for f in (one, two)] == [3, 3]
        for name in names:
            await plane.client.create("pods", bound(make, f"on-{name}", name))

        async def running():
            return len(ready(await plane.items("pods"))) == 6

        await plane.until(running)
        assert [(await f.health()).facts["pods"] for f in (one, two)] == [3, 3]
        await registration.remove(plane.client, names[:5])
        left = await registration.simulated(plane.client)
        assert [node["metadata"]["name"] for node in left] == names[5:]

    control_plane(body)


@pytest.mark.parametrize("options", [(), ("--tail=2",), ("--previous",)])
def test_kubectl_reads_the_logs_of_a_simulated_container(control_plane, make, options):
    async def body(plane):
        await plane.fleet(tls=True)
        await plane.nodes(1)
        text = "{logs: {lines: [one, two, three]}, exit: {after: 200ms, code: 1, attempts: 1}}"
        await plane.client.create("pods", bound(make, "p", "sim-0", text))

        async def restarted():
            statuses = (await plane.items("pods"))[0]["status"].get("containerStatuses") or [{}]
            return statuses[0].get("restartCount") == 1

        await plane.until(restarted)
        said = (await plane.kubectl("logs", "p", *options)).splitlines()
        assert said == (["two", "three"] if "--tail=2" in options else ["one", "two", "three"])

    control_plane(body)


def test_a_namespace_ends_with_its_pods_first_and_nothing_is_made_in_it_any_more(
    control_plane, make
):
    async def body(plane):
        await plane.manager(
            controllers=["deployment", "replicaset", "namespace", "garbage-collector"]
        )
        await plane.scheduler()
        await plane.fleet()
        await plane.nodes(2)
        client = plane.client
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space"}}
        await client.create("namespaces", namespace)
        deployment = make.deployment(replicas=8)
        deployment["metadata"]["namespace"] = "space"
        annotations = {ANNOTATION: "{stop: 1s}"}
        deployment["spec"]["template"]["metadata"]["annotations"] = annotations
        await client.create("deployments.apps", deployment)
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
        await client.create("configmaps", config, "space")

        async def running():
            return len(ready(await plane.items("pods", "space"))) == 8

        await plane.until(running)
        names = {pod["metadata"]["name"] for pod in await plane.items("pods", "space")}
        await client.delete("namespaces", "space")

        async def ending():
            pods = await plane.items("pods", "space")
            assert {pod["metadata"]["name"] for pod in pods} <= names
            if pods:
                assert await plane.items("configmaps", "space")
            return pods and all(pod["metadata"].get("deletionTimestamp") for pod in pods)

        await plane.until(ending)

        async def gone():
            pods = await plane.items("pods", "space")
            assert {pod["metadata"]["name"] for pod in pods} <= names
            found = await client.list("namespaces", field_selector="metadata.name=space")
            return not found["items"]

        await plane.until(gone)

    control_plane(body)


def test_kubectl_exec_and_attach_reach_a_simulated_container(control_plane, make):
    async def body(plane):
        await plane.fleet(tls=True)
        await plane.nodes(1)
        text = """
        exec:
        - {command: cat /etc/hostname, output: "simulated\\n"}
        - {command: "false*", output: "no\\n", code: 3}
        logs: {lines: [printed], every: 100ms}
        exit: {after: 4s}
        """
        pod = bound(make, "p", "sim-0", text, restartPolicy="Never")
        await plane.client.create("pods", pod)

        async def running():
            return ready(await plane.items("pods"))

        await plane.until(running)
        assert await plane.kubectl("exec", "p", "--", "cat", "/etc/hostname") == "simulated\n"
        with pytest.raises(AssertionError, match=r"no\s+command terminated with exit code 3"):
            await plane.kubectl("exec", "p", "--", "false", "-x")
        with pytest.raises(AssertionError, match="ls: not found: this container is simulated"):
            await plane.kubectl("exec", "p", "--", "ls")
        assert "printed" in await plane.kubectl("attach", "p")

    control_plane(body)
