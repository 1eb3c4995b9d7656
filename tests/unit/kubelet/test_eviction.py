"""Thresholds, pressure, ranking and disk limits: the decisions of the eviction manager."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cluster.kubelet import machine, node_object
from cluster.kubelet.eviction import disk, local_storage, measured, ranking, thresholds
from cluster.kubelet.eviction.disk import Taken
from cluster.kubelet.eviction.local_storage import DiskUsage
from cluster.kubelet.eviction.pressure import Pressure
from cluster.kubelet.eviction.thresholds import Observed, Threshold
from cluster.kubelet.runtimes.base import Usage

MIB = 1 << 20


def pod(name: str, requests: Any = None, limits: Any = None, **spec: Any) -> dict[str, Any]:
    resources = {"requests": requests or {}, "limits": limits or {}}
    container = {"name": "main", "resources": resources}
    metadata = {"name": name, "uid": name, "namespace": "default"}
    return {"metadata": metadata, "spec": {"containers": [container]} | spec}


def test_thresholds_are_amounts_or_parts_and_zero_is_none() -> None:
    hard = {"memory.available": "100Mi", "nodefs.available": "10%", "pid.available": "0"}
    soft = {"memory.available": "1Gi"}
    found = thresholds.parse(
        {
            "eviction_hard": hard,
            "eviction_soft": soft,
            "eviction_soft_grace_s": {"memory.available": 90},
            "eviction_minimum_reclaim": {"nodefs.available": "5%"},
        }
    )
    assert found == (
        Threshold("memory.available", "100Mi"),
        Threshold("nodefs.available", "10%", 0, "5%"),
        Threshold("memory.available", "1Gi", 90),
    )
    assert found[1].limit(1000) == 100
    assert [t.signal for t in thresholds.parse({})] == list(thresholds.DEFAULT_HARD)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"eviction_hard": {"cpu.available": "1"}}, "unknown eviction signal 'cpu.available'"),
        ({"eviction_hard": {"memory.available": "much"}}, "eviction threshold of memory.available"),
        ({"eviction_soft": {"memory.available": "1Gi"}}, "needs a grace period"),
    ],
)
def test_wrong_thresholds_are_told(config: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        thresholds.parse(config)


def test_a_threshold_is_over_only_once_the_minimum_was_reclaimed() -> None:
    limit = Threshold("nodefs.available", "100", 0, "50")
    assert limit.is_met(Observed(99, 1000), before=False)
    assert limit.is_met(Observed(149, 1000), before=True)
    assert not limit.is_met(Observed(150, 1000), before=True)
    assert not limit.is_met(Observed(100, 1000), before=False)


def test_soft_thresholds_wait_and_conditions_stay_for_a_while() -> None:
    soft = Threshold("memory.available", "100", 30)
    pressure = Pressure().after({"memory.available": Observed(99, 1000)}, [soft], 0)
    assert pressure.conditions(0, 300) == {"MemoryPressure"}
    assert pressure.due(29) is None
    pressure = pressure.after({"memory.available": Observed(99, 1000)}, [soft], 30)
    assert pressure.due(30) == soft
    pressure = pressure.after({"memory.available": Observed(500, 1000)}, [soft], 40)
    assert pressure.due(40) is None
    assert pressure.conditions(40, 300) == {"MemoryPressure"}
    assert pressure.conditions(330, 300) == frozenset()


def test_memory_comes_first_and_what_is_not_seen_is_not_met() -> None:
    hard = [Threshold("pid.available", "10"), Threshold("memory.available", "10")]
    low = Observed(1, 100)
    both = Pressure().after({"memory.available": low, "pid.available": low}, hard, 0)
    assert both.due(0) == hard[1]
    assert both.conditions(0, 0) == {"MemoryPressure", "PIDPressure"}
    assert Pressure().after({"pid.available": low}, hard, 0).due(0) == hard[0]


def candidate(of: dict[str, Any], memory: int = 0, pids: int = 0) -> ranking.Candidate:
    usage = {"main": Usage(working_set_bytes=memory, processes=pids)}
    return measured.candidate(of, usage, Taken(), {})


def test_who_uses_more_than_was_asked_for_goes_first_then_low_priority() -> None:
    within = candidate(pod("within", {"memory": "100Mi"}, priority=-5), 90 * MIB)
    little = candidate(pod("little", {"memory": "100Mi"}), 101 * MIB)
    much = candidate(pod("much"), 50 * MIB)
    important = candidate(pod("important", priority=1000), 900 * MIB)
    order = ranking.ranked([within, important, little, much], "memory")
    assert [c.pod["metadata"]["name"] for c in order] == ["much", "little", "important", "within"]
    both = [candidate(pod("few"), pids=2), candidate(pod("many"), pids=9)]
    by_pids = ranking.ranked(both, "pids")
    assert by_pids[0].pod["metadata"]["name"] == "many"


def test_pods_of_the_node_itself_and_of_the_system_are_not_ended() -> None:
    assert not ranking.is_critical(pod("a", priority=1000))
    assert ranking.is_critical(pod("a", priority=ranking.CRITICAL_PRIORITY))
    static = pod("a")
    static["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert ranking.is_critical(static)


def test_an_evicted_pod_is_told_why() -> None:
    found = Observed(50 * MIB, 1024 * MIB)
    text = ranking.message(
        candidate(pod("a", {"memory": "1Mi"}), 10 * MIB),
        Threshold("memory.available", "100Mi"),
        found,
    )
    assert text == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container main was using 10Mi, request is 1Mi, has larger consumption of memory. "
    )


def test_limits_of_the_disk_are_those_of_volumes_pods_and_containers() -> None:
    scratch = {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]}
    used = DiskUsage({"v": 2 * MIB}, {"main": 0})
    assert local_storage.violation(pod("a", **scratch), used) == (
        'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    )
    limited = pod("a", limits={"ephemeral-storage": "1Mi"}, volumes=[{"name": "v", "emptyDir": {}}])
    assert "total limit of containers 1Mi" in local_storage.violation(limited, used)
    other = {"name": "other"}
    limited["spec"]["containers"].append(other)
    assert local_storage.violation(limited, used) == ""
    used = DiskUsage({}, {"main": 2 * MIB})
    assert local_storage.violation(limited, used) == (
        'Container main exceeded its local ephemeral storage limit "1Mi". '
    )
    assert local_storage.violation(pod("a"), used) == ""


def test_folders_are_measured_by_their_blocks_and_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"x" * MIB)
    os.link(tmp_path / "sub" / "a", tmp_path / "b")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(64 * MIB)
    taken = disk.of_folder(str(tmp_path))
    assert MIB <= taken.size_bytes < 2 * MIB
    assert taken.inodes == 3
    assert disk.of_folder(str(tmp_path / "none")) == Taken()


def test_signals_of_this_machine(tmp_path: Path) -> None:
    found = measured.signals(str(tmp_path))
    assert {"memory.available", "pid.available", "nodefs.available"} <= found.keys()
    assert all(0 < each.available <= each.capacity for each in found.values())


def test_what_is_reserved_and_kept_free_is_not_offered_to_pods() -> None:
    capacity = {"cpu": "2", "memory": "1Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    hard = thresholds.parse({})
    kept = thresholds.kept_free(hard, capacity)
    found = machine.allocatable(capacity, [{"cpu": "100m", "memory": "24Mi"}, kept])
    assert found["cpu"] == "1900m"
    assert found["memory"] == "921600Ki"
    assert found["ephemeral-storage"] == "99614720Ki"
    assert found["pods"] == "110"


def test_the_node_tells_its_pressure_and_since_when() -> None:
    def status(old: Any, now_s: float, pressure: Any) -> Any:
        values = {"name": "n", "ip": "1.2.3.4", "port": 1, "capacity": {}, "runtime": "r"}
        found = node_object.status(old, **values, info={}, now_s=now_s, pressure=pressure)
        return {c["type"]: c for c in found["conditions"]}, {"status": found}

    first, old = status({}, 0, ())
    second, _ = status(old, 60, {"MemoryPressure"})
    assert [first["MemoryPressure"]["status"], second["MemoryPressure"]["status"]] == [
        "False",
        "True",
    ]
    assert second["MemoryPressure"]["reason"] == "KubeletHasInsufficientMemory"
    since = {name: c["lastTransitionTime"] for name, c in second.items()}
    assert since["MemoryPressure"] > since["DiskPressure"] == since["Ready"]
