"""What a node and its containers use, measured and told."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from dataclasses import replace
from pathlib import Path

from actors.seams import system_seams
from cluster.kubelet.runtimes.base import Container, ContainerSpec, Usage
from cluster.kubelet.runtimes.process import ProcessRuntime
from cluster.kubelet.runtimes.reap import reap
from cluster.kubelet.stats import exposition, node_usage, snapshot, summary
from cluster.kubelet.stats.node_usage import FileSystem, NodeUsage
from cluster.kubelet.stats.pages import StatsPages
from cluster.kubelet.stats.snapshot import ContainerUsage, PodUsage, Snapshot

NODE = NodeUsage(5 * 10**9, 1000.0, 100 << 20, 40 << 20, FileSystem(10, 4, 6, 20, 5), (), 7, 99)
POD = {
    "metadata": {"name": 'p"1', "namespace": "ns", "uid": "u"},
    "spec": {"containers": [{"name": "c", "image": "busybox"}]},
}
CONTAINER = Container("u", "c", 0, "id1", "", True, started_at_s=1500.0)


def at(at_s: float, cpu_ns: int) -> Snapshot:
    usage = Usage(cpu_ns, 3 << 20, 2 << 20, 11, 1, 4)
    pod = PodUsage(POD, (ContainerUsage(CONTAINER, usage),))
    return Snapshot(at_s, "node-1", NODE, (pod,))


def test_a_rate_needs_two_measurements_that_are_apart() -> None:
    now = at(2010.0, 7 * 10**9)
    assert snapshot.rates(now, None) == {}
    assert snapshot.rates(now, at(2009.5, 0)) == {}
    assert snapshot.rates(now, at(2000.0, 2 * 10**9)) == {"id1": 500_000_000, "": 0}


def test_the_summary_has_what_upstreams_has() -> None:
    found = summary.document(at(2010.0, 7 * 10**9), {"id1": 500_000_000, "": 1})
    assert found["node"]["nodeName"] == "node-1"
    assert found["node"]["cpu"]["usageCoreNanoSeconds"] == 5 * 10**9
    assert found["node"]["memory"]["workingSetBytes"] == 60 << 20
    assert found["node"]["fs"]["inodesUsed"] == 15
    (pod,) = found["pods"]
    assert pod["podRef"] == {"name": 'p"1', "namespace": "ns", "uid": "u"}
    assert pod["cpu"]["usageNanoCores"] == pod["containers"][0]["cpu"]["usageNanoCores"]
    assert pod["containers"][0]["memory"]["workingSetBytes"] == 3 << 20
    assert pod["process_stats"] == {"process_count": 4}


def test_without_a_rate_the_summary_says_none() -> None:
    found = summary.document(at(2010.0, 7 * 10**9), {})
    assert "usageNanoCores" not in found["node"]["cpu"]
    assert "usageNanoCores" not in found["pods"][0]["cpu"]


def test_metrics_are_told_with_labels_and_the_time_of_measuring() -> None:
    text = exposition.resource(at(2010.0, 7 * 10**9)).decode()
    labels = 'container="c",namespace="ns",pod="p\\"1"'
    assert f"container_cpu_usage_seconds_total{{{labels}}} 7.0 2010000\n" in text
    assert f"container_start_time_seconds{{{labels}}} 1500.0 2010000\n" in text
    assert "node_memory_working_set_bytes 62914560 2010000\n" in text
    assert "# TYPE pod_cpu_usage_seconds_total counter\n" in text
    text = exposition.cadvisor(at(2010.0, 7 * 10**9)).decode()
    assert 'cpu="total"' in text
    assert 'image="busybox"' in text


def test_this_machine_can_be_measured(tmp_path: Path) -> None:
    found = node_usage.read(str(tmp_path))
    assert found.cpu_ns > 0
    assert 0 < found.working_set_bytes < found.memory_bytes
    assert found.file_system.capacity_bytes >= found.file_system.used_bytes > 0
    assert found.processes > 1


BUSY = """
import os, time
if os.fork() == 0:
    held = bytearray(30 << 20)
    while time.process_time() < 0.3:
        pass
    os._exit(0)
os.wait()
held = bytearray(20 << 20)
print("done", flush=True)
time.sleep(60)
"""


def test_what_a_containers_processes_use_is_measured_even_once_they_have_ended(
    tmp_path: Path,
) -> None:
    folder = str(tmp_path / "node")
    log = os.path.join(folder, "logs", "0.log")

    async def test() -> None:
        runtime = ProcessRuntime(folder)
        await runtime.start(lambda _uid: None)
        wanted = ContainerSpec(
            "uid-1", "main", 0, uuid.uuid4().hex, (sys.executable, "-c", BUSY),
            {"PATH": os.environ["PATH"]}, log,
        )  # fmt: skip
        await runtime.run(wanted)
        while "done" not in Path(log).read_text():
            await asyncio.sleep(0.02)
        used = (await runtime.usage())[wanted.container_id]
        assert used.cpu_ns >= 250_000_000
        assert used.rss_bytes > 20 << 20
        assert used.working_set_bytes >= used.rss_bytes
        assert used.processes == 1
        await check_pages(runtime)
        await runtime.kill(wanted.container_id)
        assert await runtime.usage() == {}

    async def check_pages(runtime: ProcessRuntime) -> None:
        pod = {**POD, "metadata": {**POD["metadata"], "uid": "uid-1"}}
        seams = system_seams()
        pages = StatsPages(seams, runtime, lambda: [pod], "node-1", folder).pages
        text, _ = await pages["/metrics/resource"]()
        assert b'container_cpu_usage_seconds_total{container="main"' in text
        text, _ = await pages["/metrics"]()
        assert b"kubelet_running_pods 1\n" in text

    try:
        asyncio.run(asyncio.wait_for(test(), 60))
    finally:
        reap(folder)


def test_a_pod_uses_what_its_containers_do() -> None:
    one = at(0, 10).pods[0].containers[0]
    two = replace(one, usage=Usage(5, 1, 1, 1, 1, 1))
    total = PodUsage(POD, (one, two)).total
    assert (total.cpu_ns, total.processes) == (15, 5)
