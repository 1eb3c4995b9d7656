"""The whole kubelet with real processes against a small API."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actors.seams import system_seams
from cluster.kubelet.cgroups import detection, resources
from cluster.kubelet.eviction.thresholds import Observed
from cluster.kubelet.kubelet import Kubelet
from cluster.kubelet.runtimes.reap import reap

Object = dict[str, Any]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="own file systems need root")


class Rig:
    """A kubelet on a data folder, and its API."""

    def __init__(self, api: Any, data_dir: Path) -> None:
        self.api = api
        self.data_dir = data_dir
        self.kubelet = Kubelet()

    async def start(self, **more: Any) -> None:
        self.kubelet = Kubelet()
        config = {
            "node_name": "node-1",
            "node_ip": "127.78.1.1",
            "client": {"servers": [self.api.url]},
            "data_dir": str(self.data_dir),
            "pod_cidr": "127.78.1.0/24",
            "cluster_dns": "127.79.0.10",
            "cluster_domain": "cluster.local",
            "port": 0,
            "backoff_initial_s": 0.2,
            "capacity": {"cpu": "2", "memory": "4Gi"},
        }
        await self.kubelet.start(system_seams(), config | more)

    def create(self, name: str, *command: str, **spec: Any) -> None:
        container = {"name": "main", "image": "any", "command": list(command)}
        container |= spec.pop("container", {})
        obj = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "node-1", "containers": [container]} | spec,
        }
        self.api.put("pods", obj)

    def pod(self, name: str) -> Any:
        return self.api.get("pods", name, "default")

    def delete(self, name: str, grace_s: int = 5) -> None:
        obj = self.pod(name)
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        obj["metadata"]["deletionGracePeriodSeconds"] = grace_s
        self.api.put("pods", obj)

    async def until(self, check: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(self.api.wait, check)

    async def until_phase(self, name: str, phase: str) -> Object:
        def check() -> Any:
            found = self.pod(name)
            return found if ((found or {}).get("status") or {}).get("phase") == phase else None

        found: Object = await self.until(check)
        return found

    def condition(self, name: str, type_: str) -> str:
        conditions = ((self.pod(name) or {}).get("status") or {}).get("conditions") or ()
        return next((c["status"] for c in conditions if c["type"] == type_), "")

    def reasons(self) -> set[str]:
        return {o["reason"] for (r, _, _), o in list(self.api.objects.items()) if r == "events"}


@pytest.fixture
def rig(api: Any, tmp_path: Path) -> Any:
    yield Rig(api, tmp_path / "node")
    reap(str(tmp_path / "node"))


def run(rig: Rig, test: Callable[[], Awaitable[None]], **config: Any) -> None:
    async def whole() -> None:
        await rig.start(**config)
        try:
            await asyncio.wait_for(test(), 180)
        finally:
            await rig.kubelet.stop()

    asyncio.run(whole())


def test_the_node_registers_itself_and_renews_its_lease(rig: Rig) -> None:
    async def test() -> None:
        node = await rig.until(lambda: (rig.api.get("nodes", "node-1") or {}).get("status"))
        assert {c["type"]: c["status"] for c in node["conditions"]}["Ready"] == "True"
        assert node["addresses"][0] == {"type": "InternalIP", "address": "127.78.1.1"}
        assert node["capacity"]["cpu"] == "2"

        def renewed() -> Any:
            return (rig.api.get("leases", "node-1", "kube-node-lease") or {}).get("spec")

        first = await rig.until(renewed)
        await rig.until(lambda: renewed()["renewTime"] > first["renewTime"])

    run(rig, test, lease_s=0.4)


def test_a_pod_runs_reports_and_is_gone_after_its_deletion(rig: Rig) -> None:
    async def test() -> None:
        began_s = time.monotonic()
        rig.create("a", "sleep", "1000")
        pod = await rig.until_phase("a", "Running")
        print(f"start took {time.monotonic() - began_s:.3f} s")
        status = pod["status"]
        assert status["podIP"] == "127.78.1.2"
        (container,) = status["containerStatuses"]
        assert (container["ready"], container["restartCount"]) == (True, 0)
        assert container["imageID"] == "host://rootfs"
        assert {c["type"]: c["status"] for c in status["conditions"]} == {
            "PodReadyToStartContainers": "True",
            "Initialized": "True",
            "Ready": "True",
            "ContainersReady": "True",
            "PodScheduled": "True",
        }
        rig.delete("a")
        await rig.until(lambda: rig.pod("a") is None)
        await rig.until(lambda: {"Created", "Started", "Killing"} <= rig.reasons())
        for _ in range(100):
            if not os.listdir(rig.data_dir / "pods"):
                break
            await asyncio.sleep(0.02)
        assert os.listdir(rig.data_dir / "pods") == []

    run(rig, test)


def test_init_containers_run_first_and_a_job_like_pod_ends(rig: Rig) -> None:
    async def test() -> None:
        init = [
            {"name": "one", "image": "x", "command": ["sh", "-c", "echo 1 > $DIR/one"]},
            {"name": "two", "image": "x", "command": ["sh", "-c", "test -e $DIR/one"]},
        ]
        folder = str(rig.data_dir.parent / "shared")
        os.makedirs(folder)
        volume = {"name": "v", "hostPath": {"path": folder}}
        for container in init:
            container |= {
                "env": [{"name": "DIR", "value": "/shared"}],
                "volumeMounts": [{"name": "v", "mountPath": "/shared"}],
            }
        rig.create("a", "true", initContainers=init, volumes=[volume], restartPolicy="Never")
        pod = await rig.until_phase("a", "Succeeded")
        states = [s["state"]["terminated"] for s in pod["status"]["initContainerStatuses"]]
        assert [state["exitCode"] for state in states] == [0, 0]

    if os.geteuid() != 0:
        pytest.skip("volumes at their paths need root")
    run(rig, test)


def test_a_crashing_container_is_restarted_with_back_off(rig: Rig) -> None:
    async def test() -> None:
        rig.create("a", "sh", "-c", "exit 7")

        def backing_off() -> Any:
            status = (rig.pod("a").get("status") or {}).get("containerStatuses")
            return status and "waiting" in status[0]["state"] and status[0]["restartCount"] >= 1

        await rig.until(backing_off)
        (container,) = rig.pod("a")["status"]["containerStatuses"]
        assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert container["lastState"]["terminated"]["exitCode"] == 7
        await rig.until(lambda: rig.pod("a")["status"]["containerStatuses"][0]["restartCount"] >= 3)
        await rig.until(lambda: "BackOff" in rig.reasons())

    run(rig, test)


def test_environment_comes_from_config_maps_secrets_and_the_pod(rig: Rig) -> None:
    config = {"metadata": {"name": "c", "namespace": "default"}, "data": {"K": "from-map"}}
    secret = {"metadata": {"name": "s", "namespace": "default"}, "data": {"P": "cHc="}}
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "P"}}},
        {"name": "ALL", "value": "$(K)-$(P)-$(IP)-$$(K)"},
    ]

    async def test() -> None:
        rig.api.put("configmaps", config)
        container = {"env": env, "envFrom": [{"configMapRef": {"name": "c"}}]}
        container["terminationMessagePolicy"] = "FallbackToLogsOnError"
        command = ("sh", "-c", "echo $ALL; exit 1")
        rig.create("a", *command, restartPolicy="Never", container=container)

        def state() -> Any:
            status = (rig.pod("a").get("status") or {}).get("containerStatuses")
            return status and status[0]["state"].get("waiting")

        await rig.until(lambda: (state() or {}).get("reason") == "CreateContainerConfigError")
        assert state()["message"] == 'secret "s" not found'
        rig.api.put("secrets", secret)
        pod = await rig.until_phase("a", "Failed")
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        assert ended["message"] == "from-map-pw-127.78.1.2-$(K)\n"

    run(rig, test)


@needs_root
def test_config_map_volumes_follow_their_source(rig: Rig) -> None:
    config = {"metadata": {"name": "c", "namespace": "default"}, "data": {"k": "one"}}

    async def test() -> None:
        rig.api.put("configmaps", config)
        container = {"volumeMounts": [{"name": "v", "mountPath": "/etc/conf"}]}
        script = "until grep -q two /etc/conf/k; do sleep 0.05; done"
        volumes = [{"name": "v", "configMap": {"name": "c"}}]
        rig.create(
            "a", "sh", "-c", script, container=container, volumes=volumes, restartPolicy="Never"
        )
        await rig.until_phase("a", "Running")
        rig.api.put("configmaps", config | {"data": {"k": "two"}})
        await rig.until_phase("a", "Succeeded")

    run(rig, test)


def test_readiness_follows_its_probe_and_liveness_restarts(rig: Rig) -> None:
    flag = rig.data_dir.parent / "flag"
    server = (
        "import http.server,os;"
        "http.server.HTTPServer((os.environ['IP'],8080),"
        "http.server.SimpleHTTPRequestHandler).serve_forever()"
    )
    container = {
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 0.1},
        "livenessProbe": {
            "exec": {"command": ["test", "!", "-e", str(flag)]},
            "periodSeconds": 0.2,
            "failureThreshold": 2,
        },
        "volumeMounts": [{"name": "v", "mountPath": str(flag.parent)}],
    }
    volumes = [{"name": "v", "hostPath": {"path": str(flag.parent)}}]

    async def test() -> None:
        rig.create("a", sys.executable, "-c", server, container=container, volumes=volumes)
        await rig.until(lambda: rig.condition("a", "Ready") == "False")
        await rig.until(lambda: rig.condition("a", "Ready") == "True")
        flag.touch()
        await rig.until(lambda: rig.pod("a")["status"]["containerStatuses"][0]["restartCount"] >= 1)
        flag.unlink()
        await rig.until(lambda: rig.condition("a", "Ready") == "True")
        await rig.until(lambda: "Unhealthy" in rig.reasons())

    run(rig, test)


def test_a_pod_that_does_not_fit_is_refused(rig: Rig) -> None:
    async def test() -> None:
        resources = {"resources": {"requests": {"cpu": "3"}}}
        rig.create("big", "sleep", "1", container=resources)
        pod = await rig.until_phase("big", "Failed")
        assert pod["status"]["reason"] == "OutOfcpu"
        rig.create("elsewhere", "sleep", "1", nodeSelector={"zone": "b"})
        pod = await rig.until_phase("elsewhere", "Failed")
        assert pod["status"]["reason"] == "NodeAffinity"

    run(rig, test)


def test_a_restarted_kubelet_adopts_its_pods_and_ends_deleted_ones(rig: Rig) -> None:
    async def test() -> None:
        for name in ("stays", "goes"):
            rig.create(name, "sleep", "1000")
            await rig.until_phase(name, "Running")
        before = rig.pod("stays")["status"]["containerStatuses"][0]
        goes = rig.pod("goes")["metadata"]["uid"]
        await rig.kubelet.stop()
        rig.api.put("pods", rig.pod("goes"), "DELETED")
        await rig.start()
        for _ in range(500):
            if not os.path.exists(rig.data_dir / "pods" / goes):
                break
            await asyncio.sleep(0.02)
        assert not os.path.exists(rig.data_dir / "pods" / goes)
        after = rig.pod("stays")["status"]["containerStatuses"][0]
        assert after["containerID"] == before["containerID"]
        assert (after["restartCount"], after["ready"]) == (0, True)

    run(rig, test)


def test_pre_stop_runs_before_the_end_and_the_grace_period_is_kept(rig: Rig) -> None:
    stamp = rig.data_dir.parent / "stamp"
    hook = {"preStop": {"exec": {"command": ["touch", str(stamp)]}}}
    container = {
        "lifecycle": hook,
        "volumeMounts": [{"name": "v", "mountPath": str(rig.data_dir.parent)}],
    }
    volumes = [{"name": "v", "hostPath": {"path": str(rig.data_dir.parent)}}]

    async def test() -> None:
        command = ("sh", "-c", "trap '' TERM; while :; do sleep 1; done")
        rig.create("a", *command, container=container, volumes=volumes)
        await rig.until_phase("a", "Running")
        await asyncio.sleep(0.2)
        began_s = time.monotonic()
        rig.delete("a", grace_s=2)
        await rig.until(lambda: rig.pod("a") is None)
        assert 1.8 < time.monotonic() - began_s < 4
        assert stamp.exists()

    run(rig, test)


def groups_of(rig: Rig) -> Any:
    tree = detection.recorded(str(rig.data_dir))
    if tree is None:
        pytest.skip("this machine has no control groups for us")
    return tree


def test_a_container_beyond_its_memory_limit_is_reported_as_oom_killed(rig: Rig) -> None:
    async def test() -> None:
        groups_of(rig)
        limits = {"resources": {"limits": {"memory": "32Mi"}}}
        program = ("python3", "-c", "bytearray(300 << 20)")
        rig.create("hungry", *program, container=limits, restartPolicy="Never")
        status = (await rig.until_phase("hungry", "Failed"))["status"]
        ended = status["containerStatuses"][0]["state"]["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)

    run(rig, test)


def test_a_fork_bomb_stays_within_its_pod_and_the_node_goes_on(rig: Rig) -> None:
    bomb = "while :; do sleep 1000 & done 2>/dev/null; echo survived; sleep 1000"

    async def test() -> None:
        tree = groups_of(rig)
        rig.create("bomb", "bash", "-c", bomb)
        pod = await rig.until_phase("bomb", "Running")
        path = resources.pod_path(pod)
        while len(tree.processes(path)) < 30:
            await asyncio.sleep(0.05)
        rig.create("peer", "true", restartPolicy="Never")
        await rig.until_phase("peer", "Succeeded")
        assert len(tree.processes(path)) <= 32
        rig.delete("bomb", 0)
        await rig.until(lambda: rig.pod("bomb") is None)
        assert not tree.exists(path)

    run(rig, test, pod_pids_max=32)


class Signals:
    """What the eviction manager is told."""

    def __init__(self) -> None:
        self.low: set[str] = set()

    def __call__(self) -> dict[str, Observed]:
        names = ("memory.available", "nodefs.available", "pid.available")
        return {name: Observed(1 if name in self.low else 900, 1000) for name in names}


def pressed(rig: Rig, type_: str) -> str:
    conditions = ((rig.api.get("nodes", "node-1") or {}).get("status") or {}).get("conditions")
    return next((c["status"] for c in conditions or () if c["type"] == type_), "")


def test_under_memory_pressure_the_greediest_pod_is_evicted_and_no_other_taken(rig: Rig) -> None:
    signals = Signals()
    hold = "x = bytearray(60 << 20); import time; time.sleep(1000)"

    async def test() -> None:
        asked = {"resources": {"requests": {"memory": "512Mi"}}}
        rig.create("modest", "sleep", "1000", container=asked)
        rig.create("greedy", "python3", "-c", hold)
        for name in ("modest", "greedy"):
            await rig.until_phase(name, "Running")
        signals.low = {"memory.available"}
        await rig.until(lambda: pressed(rig, "MemoryPressure") == "True")
        status = (await rig.until_phase("greedy", "Failed"))["status"]
        assert status["reason"] == "Evicted"
        assert "low on resource: memory" in status["message"]
        assert rig.condition("greedy", "DisruptionTarget") == "True"
        assert rig.pod("modest")["status"]["phase"] == "Running"
        rig.create("late", "true")
        assert (await rig.until_phase("late", "Failed"))["status"]["reason"] == "Evicted"
        signals.low = set()
        await rig.until(lambda: pressed(rig, "MemoryPressure") == "False")
        assert pressed(rig, "Ready") == "True"

    hard = {"memory.available": "10%"}
    config = {"eviction_period_s": 0.05, "eviction_transition_s": 0.0}
    run(rig, test, observe=signals, eviction_hard=hard, **config)


def test_a_container_that_fills_its_volume_is_evicted_and_the_node_stays_ready(rig: Rig) -> None:
    async def test() -> None:
        volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]
        folder = rig.data_dir / "pods"
        mounts = {"volumeMounts": [{"name": "v", "mountPath": "/scratch"}]}
        target = "/scratch" if os.geteuid() == 0 else '"$RAYKUBE_MOUNTS/scratch"'
        script = f"head -c 20000000 /dev/zero > {target}/full; sleep 1000"
        rig.create("filler", "sh", "-c", script, container=mounts, volumes=volumes)
        status = (await rig.until_phase("filler", "Failed"))["status"]
        assert 'EmptyDir volume "v" exceeds the limit "1Mi"' in status["message"]
        assert pressed(rig, "Ready") == "True"
        rig.delete("filler", 0)
        await rig.until(lambda: rig.pod("filler") is None)
        assert not list(folder.iterdir())

    run(rig, test, eviction_hard={}, eviction_period_s=0.05)


def test_a_container_that_floods_its_log_keeps_only_so_much_of_it(rig: Rig) -> None:
    async def test() -> None:
        script = "head -c 200000000 /dev/zero | tr '\\0' x; echo; echo last"
        rig.create("flood", "sh", "-c", script, restartPolicy="Never")
        await rig.until_phase("flood", "Succeeded")
        logs = [each for each in (rig.data_dir / "logs").rglob("*") if each.is_file()]
        assert sum(each.stat().st_size for each in logs) < 60 << 20
        newest = next(each for each in logs if each.name == "0.log")
        assert newest.read_bytes().endswith(b"last\n")

    run(rig, test)


def sized(cpu: str, memory: str = "64Mi", **more: Any) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": memory}
    return {"resources": {"requests": amounts, "limits": amounts}} | more


def ask(rig: Rig, name: str, cpu: str, memory: str = "64Mi") -> None:
    obj = rig.pod(name)
    obj["spec"]["containers"][0] |= sized(cpu, memory)
    rig.api.put("pods", obj)


def cpu_of(rig: Rig, name: str) -> str:
    """What the status says that the container has."""
    (status,) = ((rig.pod(name) or {}).get("status") or {}).get("containerStatuses") or [{}]
    return str(((status.get("resources") or {}).get("limits") or {}).get("cpu", ""))


def test_a_running_container_gets_other_limits_without_a_restart(rig: Rig) -> None:
    async def test() -> None:
        tree = groups_of(rig)
        rig.create("a", "sleep", "1000", container=sized("500m"))
        pod = await rig.until_phase("a", "Running")
        ask(rig, "a", "1", "128Mi")
        await rig.until(lambda: cpu_of(rig, "a") == "1")
        (status,) = rig.pod("a")["status"]["containerStatuses"]
        assert status["restartCount"] == 0
        assert status["allocatedResources"] == {"cpu": "1", "memory": "128Mi"}
        path = resources.pod_path(pod)
        container = f"{path}/{status['containerID'].removeprefix('process://')}"
        for group in (path, container):
            assert limits_in(tree, group) == (100_000, 128 << 20)
        await rig.until(lambda: rig.condition("a", "PodResizeInProgress") == "")

    run(rig, test)


def limits_in(tree: Any, group: str) -> tuple[int, int]:
    """(processor time per 100 ms, bytes of memory), from the kernel."""

    def text(controller: str, name: str) -> str:
        return (Path(tree.roots[controller]) / group / name).read_text().split()[0]

    if tree.version == 1:
        quota = text("cpu", "cpu.cfs_quota_us")
        return int(quota), int(text("memory", "memory.limit_in_bytes"))
    return int(text("cpu", "cpu.max")), int(text("memory", "memory.max"))


def test_a_resize_waits_for_room_and_one_too_large_is_told(rig: Rig) -> None:
    def pending() -> str:
        conditions = (rig.pod("a")["status"]).get("conditions") or ()
        return next((c["reason"] for c in conditions if c["type"] == "PodResizePending"), "")

    async def test() -> None:
        rig.create("a", "sleep", "1000", container=sized("500m"))
        rig.create("b", "sleep", "1000", container=sized("1"))
        for name in ("a", "b"):
            await rig.until_phase(name, "Running")
        ask(rig, "a", "16")
        await rig.until(lambda: pending() == "Infeasible")
        ask(rig, "a", "1500m")
        await rig.until(lambda: pending() == "Deferred")
        assert cpu_of(rig, "a") == "500m"
        rig.delete("b", 0)
        await rig.until(lambda: cpu_of(rig, "a") == "1500m")
        await rig.until(lambda: pending() == "")

    run(rig, test)


def test_a_resize_may_ask_for_a_new_start_of_the_container(rig: Rig) -> None:
    async def test() -> None:
        policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
        container = sized("500m", resizePolicy=policy)
        rig.create("a", "sleep", "1000", container=container, terminationGracePeriodSeconds=1)
        await rig.until_phase("a", "Running")
        ask(rig, "a", "500m", "128Mi")

        def status() -> Any:
            return rig.pod("a")["status"]["containerStatuses"][0]

        await rig.until(lambda: status()["restartCount"] == 1 and "running" in status()["state"])
        assert status()["resources"]["limits"]["memory"] == "128Mi"

    run(rig, test)


STATIC = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: any, command: [sh, -c, "echo %s; exec sleep 1000"]}
"""


def static_file(rig: Rig, text: str) -> Path:
    folder = rig.data_dir / "manifests"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".web.new").write_text(text)
    (folder / ".web.new").rename(folder / "web.yaml")
    return folder / "web.yaml"


def test_a_static_pod_follows_its_file_and_the_api_shows_a_mirror(rig: Rig) -> None:
    async def running(uid: str = "") -> Object:
        def check() -> Any:
            found = rig.pod("web-node-1")
            other = found and found["metadata"]["annotations"]["kubernetes.io/config.hash"] != uid
            status = (found or {}).get("status") or {}
            return found if other and status.get("phase") == "Running" else None

        found: Object = await rig.until(check)
        return found

    async def test() -> None:
        file = static_file(rig, STATIC % "one")
        first = await running()
        notes = first["metadata"]["annotations"]
        assert notes["kubernetes.io/config.mirror"] == notes["kubernetes.io/config.hash"]
        assert first["metadata"]["ownerReferences"][0]["kind"] == "Node"
        container = first["status"]["containerStatuses"][0]["containerID"]

        rig.api.put("pods", first, "DELETED")  # somebody deletes the mirror: it comes again
        again = await running()
        assert again["metadata"]["uid"] != first["metadata"]["uid"]
        assert again["status"]["containerStatuses"][0]["containerID"] == container

        await rig.kubelet.stop()
        await rig.start(**config)
        static_file(rig, "kind: [")  # half a file changes nothing
        static_file(rig, STATIC % "two")
        second = await running(notes["kubernetes.io/config.hash"])
        assert second["status"]["containerStatuses"][0]["containerID"] != container
        file.unlink()
        await rig.until(lambda: rig.pod("web-node-1") is None)
        while list((rig.data_dir / "pods").iterdir()):
            await asyncio.sleep(0.05)

    config = {"static_pod_period_s": 0.05, "backoff_initial_s": 0.2}
    run(rig, test, **config)


def test_a_node_that_shuts_down_ends_its_pods_and_takes_no_others_until_it_is_back(
    rig: Rig,
) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"

    async def test() -> None:
        rig.create("usual", "sh", "-c", script)
        rig.create("critical", "sh", "-c", script, priority=2_000_000_001)
        for name in ("usual", "critical"):
            await rig.until_phase(name, "Running")
        (rig.data_dir / "shutdown").touch()
        await rig.until(lambda: pressed(rig, "Ready") == "False")
        for name in ("usual", "critical"):
            status = (await rig.until_phase(name, "Failed"))["status"]
            assert status["reason"] == "Terminated"
            assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
        rig.create("late", "true")
        assert (await rig.until_phase("late", "Failed"))["status"]["reason"] == "NodeShutdown"
        (rig.data_dir / "shutdown").unlink()
        await rig.until(lambda: pressed(rig, "Ready") == "True")
        rig.create("next", "true", restartPolicy="Never")
        await rig.until_phase("next", "Succeeded")

    run(rig, test)


def test_a_pod_can_be_deleted_while_its_post_start_hook_goes_on(rig: Rig) -> None:
    async def test() -> None:
        hook = {"lifecycle": {"postStart": {"exec": {"command": ["sleep", "1000"]}}}}
        rig.create("a", "sleep", "1000", container=hook)
        await rig.until_phase("a", "Running")
        rig.delete("a", 1)
        await rig.until(lambda: rig.pod("a") is None)

    run(rig, test)
