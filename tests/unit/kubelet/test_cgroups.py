"""Control groups: the numbers, the files of both versions over plain folders, and the real ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.kubelet.cgroups import detection, resources
from cluster.kubelet.cgroups.limits import (
    UNLIMITED,
    Limits,
    quota_us,
    shares,
    v1_settings,
    v2_settings,
    weight,
)
from cluster.kubelet.cgroups.pods import PodGroups
from cluster.kubelet.cgroups.tree import Tree
from cluster.kubelet.resources import of_container

MIB = 1 << 20


def pod(*containers: dict[str, Any], uid: str = "u1", **spec: Any) -> dict[str, Any]:
    named = [{"name": f"c{at}", "resources": each} for at, each in enumerate(containers)]
    return {"metadata": {"uid": uid}, "spec": {"containers": named} | spec}


def container_limits(of: dict[str, Any]) -> Limits:
    wanted = of_container(of, of["spec"]["containers"][0], {"memory": "4Gi"})
    return resources.container_limits(wanted)


def test_shares_quota_and_weight_are_upstreams() -> None:
    assert [shares(n) for n in (0, 1, 100, 1000, 10**9)] == [2, 2, 102, 1024, 262_144]
    assert [quota_us(n) for n in (0, 1, 500, 2000)] == [UNLIMITED, 1000, 50_000, 200_000]
    assert [weight(n) for n in (2, 1024, 262_144)] == [1, 39, 10_000]


def test_the_files_of_both_versions() -> None:
    limits = Limits(1024, 50_000, 64 * MIB, 100, kill_together=True)
    assert {(s.controller, s.file): s.text for s in v1_settings(limits)} == {
        ("cpu", "cpu.shares"): "1024",
        ("cpu", "cpu.cfs_period_us"): "100000",
        ("cpu", "cpu.cfs_quota_us"): "50000",
        ("memory", "memory.limit_in_bytes"): str(64 * MIB),
        ("pids", "pids.max"): "100",
    }
    assert {(s.controller, s.file): s.text for s in v2_settings(limits)} == {
        ("cpu", "cpu.weight"): "39",
        ("cpu", "cpu.max"): "50000 100000",
        ("memory", "memory.max"): str(64 * MIB),
        ("memory", "memory.oom.group"): "1",
        ("pids", "pids.max"): "100",
    }
    free = Limits(cpu_quota_us=UNLIMITED, memory_bytes=UNLIMITED, pids=UNLIMITED)
    assert [s.text for s in v2_settings(free)] == ["max 100000", "max", "max"]
    assert [s.text for s in v1_settings(free)] == ["100000", "-1", "-1", "max"]


def test_limits_of_a_pod_follow_its_class() -> None:
    best_effort = pod({}, {})
    assert resources.pod_path(best_effort) == "kubepods/besteffort/podu1"
    assert resources.pod_limits(best_effort, 10) == Limits(2, UNLIMITED, UNLIMITED, 10)
    full = {"cpu": "500m", "memory": "64Mi"}
    guaranteed = pod({"requests": full, "limits": full}, {"requests": full, "limits": full})
    assert resources.pod_path(guaranteed) == "kubepods/podu1"
    assert resources.pod_limits(guaranteed) == Limits(1024, 100_000, 128 * MIB, UNLIMITED)
    half = pod({"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}}, {})
    assert resources.pod_path(half) == "kubepods/burstable/podu1"
    assert resources.pod_limits(half) == Limits(102, UNLIMITED, UNLIMITED, UNLIMITED)


def test_init_containers_and_overhead_count_for_a_pod() -> None:
    one = {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}
    init = [{"name": "i", "resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "3"}}}]
    found = resources.pod_limits(pod(one, initContainers=init, overhead={"cpu": "1"}))
    assert (found.cpu_shares, found.cpu_quota_us) == (4096, 400_000)


def test_limits_of_a_container_and_those_of_the_pod_as_a_whole() -> None:
    own = pod({"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "32Mi"}})
    found = container_limits(own)
    assert found == Limits(256, 100_000, 32 * MIB, None, kill_together=True)
    whole = {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "64Mi"}}
    shared = pod({}, {}, resources=whole)
    assert resources.pod_limits(shared) == Limits(1024, 200_000, 64 * MIB, UNLIMITED)
    found = container_limits(shared)
    assert (found.cpu_quota_us, found.memory_bytes) == (200_000, 64 * MIB)


def _mountinfo(folder: Path, *lines: str) -> str:
    path = folder / "mountinfo"
    path.write_text("".join(f"30 24 0:26 {line}\n" for line in lines))
    return str(path)


def _own(folder: Path, text: str) -> str:
    (folder / "own").write_text(text)
    return str(folder / "own")


def test_v1_hierarchies_are_found_below_our_own_group(tmp_path: Path) -> None:
    (tmp_path / "memory" / "me").mkdir(parents=True)
    for name in ("cpu", "pids"):
        (tmp_path / name).mkdir()
    mounts = _mountinfo(
        tmp_path,
        f"/ {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct",
        f"/ {tmp_path}/memory rw - cgroup cgroup rw,memory",
        f"/ {tmp_path}/pids rw - cgroup cgroup rw,pids",
    )
    own = _own(tmp_path, "3:memory:/me\n2:pids:/gone\n1:cpu,cpuacct:/\n0::/\n")
    tree = detection.detect("x", mounts, own)
    assert tree is not None
    assert tree.version == 1
    assert tree.roots["memory"] == f"{tmp_path}/memory/me/x"
    assert tree.roots["pids"] == f"{tmp_path}/pids/x"
    assert tree.folders("a") == [f"{tmp_path}/{p}/x/a" for p in ("cpu", "memory/me", "pids")]


def _v2(tmp_path: Path, own: str = "0::/\n") -> Tree | None:
    mounts = _mountinfo(tmp_path, f"/ {tmp_path}/v2 rw - cgroup2 cgroup2 rw")
    return detection.detect("x", mounts, _own(tmp_path, own))


def test_v2_hands_its_controllers_down_to_every_group_but_the_last(tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "cgroup.controllers").write_text("cpu io memory pids")
    tree = _v2(tmp_path)
    assert tree is not None
    assert tree.version == 2
    assert tree.controllers == {"cpu", "memory", "pids"}
    tree.create("a/b", Limits(memory_bytes=MIB))
    root = tmp_path / "v2" / "x"
    for folder in (root.parent, root, root / "a"):
        assert (folder / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert not (root / "a" / "b" / "cgroup.subtree_control").exists()
    assert (root / "a" / "b" / "memory.max").read_text() == str(MIB)
    assert tree.kills_file("a/b") == str(root / "a" / "b" / "memory.events")


def test_v2_without_memory_or_pids_is_no_use(tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "cgroup.controllers").write_text("hugetlb")
    assert _v2(tmp_path) is None


def test_what_a_v2_group_uses(tmp_path: Path) -> None:
    texts = {
        "memory.current": "1000",
        "memory.stat": "anon 600\ninactive_file 300\npgfault 7\npgmajfault 2\n",
        "cpu.stat": "usage_usec 5\nthrottled_usec 2\n",
        "pids.current": "3",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    usage = Tree(2, {"memory": str(tmp_path)}).usage("")
    assert usage is not None
    assert (usage.cpu_ns, usage.memory_bytes, usage.working_set_bytes) == (5000, 1000, 700)
    assert (usage.rss_bytes, usage.page_faults, usage.major_page_faults) == (600, 7, 2)
    assert (usage.processes, usage.throttled_ns) == (3, 2000)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Tree]:
    tree = detection.open_tree(str(tmp_path))
    if tree is None:
        pytest.skip("this machine has no control groups for us")
    yield tree
    tree.kill("")
    tree.remove("")
    assert not any(os.path.exists(root) for root in tree.roots.values())


def test_the_next_kubelet_finds_the_groups_of_the_last_one(real: Tree, tmp_path: Path) -> None:
    groups = PodGroups(real, {"cpu": 2000, "memory": 1 << 33})
    path = groups.set_up(pod({"requests": {"cpu": "100m"}}))
    again = detection.open_tree(str(tmp_path))
    assert again == real
    assert PodGroups(again, {"cpu": 2000}).uids() == ["u1"]
    assert PodGroups(again, {"cpu": 2000}).path("u1") == path


def test_a_pod_that_goes_takes_its_processes_along(real: Tree) -> None:
    groups = PodGroups(real, {"cpu": 2000, "memory": 1 << 33}, 50)
    path = groups.set_up(pod({"requests": {"cpu": "100m"}}))
    groups.balance([pod({"requests": {"cpu": "100m"}})])
    real.create(f"{path}/c")
    join = " ".join(f"echo 0 > {file};" for file in real.members_files(f"{path}/c"))
    with subprocess.Popen(["sh", "-c", f"{join} echo in; sleep 1000"], stdout=-1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        assert process.pid in real.processes(path)
        groups.remove("u1")
        assert process.wait(60) == -9
    assert not real.exists(path)
    assert groups.uids() == []


def test_memory_beyond_the_limit_is_killed_and_counted(real: Tree) -> None:
    real.create("c", Limits(memory_bytes=32 * MIB))
    join = " ".join(f"echo 0 > {file};" for file in real.members_files("c"))
    script = f"{join} exec python3 -c 'bytearray(256 << 20)'"
    assert subprocess.run(["sh", "-c", script], check=False).returncode == -9
    assert "oom_kill 1" in Path(real.kills_file("c")).read_text()
