"""Claims, their volumes and what pods see of them, through the real kubectl."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from node_cluster import eventually, needs_kubectl, needs_root
from volume_cluster import VolumeCluster, claim, of_claim, user

from cluster.kubelet.runtimes import host_mounts
from cluster.kubelet.volumes import mounting

pytestmark = [needs_kubectl, needs_root]
needs_loop = pytest.mark.skipif(not mounting.can_loop(), reason="no loop devices here")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VolumeCluster]:
    made = VolumeCluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


def local_volumes(cluster: VolumeCluster) -> Path:
    return Path(cluster.data_dir) / "local-volumes"


def mounted(cluster: VolumeCluster) -> list[str]:
    return [point for point, _ in host_mounts.mounts() if point.startswith(cluster.data_dir)]


def test_a_stateful_set_keeps_its_data_and_its_claims_give_the_space_back(
    cluster: VolumeCluster,
) -> None:
    script = "cat /data/kept 2>/dev/null; echo $HOSTNAME >> /data/kept; exec sleep 1000"
    mount = {"name": "data", "mountPath": "/data"}
    container = {"name": "main", "image": "any", "command": ["sh", "-c", script]}
    template = {
        "metadata": {"labels": {"app": "db"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container | {"volumeMounts": [mount]}],
        },
    }
    made = claim("data")
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db"},
            "spec": {
                "serviceName": "db",
                "replicas": 2,
                "selector": {"matchLabels": {"app": "db"}},
                "template": template,
                "volumeClaimTemplates": [{"metadata": made["metadata"], "spec": made["spec"]}],
            },
        }
    )
    for name in ("db-0", "db-1"):
        cluster.eventually_get("pod", name)
        cluster.runs(name)
        cluster.reaches("pvc", f"data-{name}", ".status.phase", "Bound")
    first = cluster.get("pod", "db-0")["metadata"]["uid"]
    cluster.kubectl("delete", "pod", "db-0", "--timeout=140s")
    eventually(lambda: cluster.eventually_get("pod", "db-0")["metadata"]["uid"] != first, 180)
    cluster.runs("db-0")
    eventually(lambda: cluster.kubectl("logs", "db-0") == "db-0\n", 180)
    volumes = [v["metadata"]["name"] for v in cluster.get("pv")["items"]]
    assert sorted(os.listdir(local_volumes(cluster))) == sorted(volumes)
    cluster.kubectl("delete", "statefulset", "db", "--timeout=140s")
    cluster.gone("pod/db-0", "pod/db-1")
    cluster.kubectl("delete", "pvc", "data-db-0", "data-db-1", "--timeout=140s")
    cluster.gone(*(f"pv/{name}" for name in volumes))
    assert not os.listdir(local_volumes(cluster))
    assert not mounted(cluster)


@needs_loop
def test_a_volume_has_the_size_of_its_claim_and_grows_while_it_is_used(
    cluster: VolumeCluster,
) -> None:
    cluster.apply(
        claim("sized", "16Mi"),
        user(
            "fills",
            "head -c 64M /dev/zero 2>/dev/null > /data/x; stat -c %s /data/x",
            volume=of_claim("sized"),
        ),
    )
    assert 4 << 20 < int(cluster.ended("fills").splitlines()[-1]) < 16 << 20
    cluster.kubectl("delete", "pod", "fills", "--timeout=140s")
    script = "rm /data/x; until head -c 40M /dev/zero 2>/dev/null > /data/y; do sleep 0.5; done"
    cluster.apply(user("grows", f"{script}; echo grown", volume=of_claim("sized")))
    cluster.reaches("pod", "grows", ".status.phase", "Running")
    patch = '{"spec":{"resources":{"requests":{"storage":"64Mi"}}}}'
    cluster.kubectl("patch", "pvc", "sized", "-p", patch)
    if not mounting.can_grow_mounted():
        pending = '.status.conditions[?(@.type=="FileSystemResizePending")].status'
        cluster.reaches("pvc", "sized", pending, "True")
        cluster.kubectl("delete", "pod", "grows", "--timeout=140s")
        script = script.removeprefix("rm /data/x; ")
        cluster.apply(user("grows", f"{script}; echo grown", volume=of_claim("sized")))
    assert cluster.ended("grows").splitlines()[-1] == "grown"
    cluster.reaches("pvc", "sized", ".status.capacity.storage", "64Mi")
    status = cluster.get("pvc", "sized")["status"]
    assert not status.get("conditions")
    cluster.kubectl("delete", "pod", "grows", "--timeout=140s")
    cluster.kubectl("delete", "pvc", "sized", "--timeout=140s")


def persistent(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    given = {
        "capacity": {"storage": "16Mi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "by-hand",
        "persistentVolumeReclaimPolicy": "Retain",
        **source,
        **spec,
    }
    head = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    return {**head, "spec": given}


def test_volumes_made_by_hand_are_used_where_they_are_and_kept(
    cluster: VolumeCluster, tmp_path: Path
) -> None:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    for kind in ("local", "hostPath"):
        (tmp_path / kind).mkdir()
    names = {"local": {"nodeAffinity": affinity}, "hostPath": {}}
    for kind, more in names.items():
        low = kind.lower()
        source = {kind: {"path": str(tmp_path / kind)}}
        given = {"storageClassName": "by-hand", "volumeName": f"hand-{low}"}
        cluster.apply(
            persistent(f"hand-{low}", source, **more),
            claim(f"hand-{low}", **given),
            user(f"hand-{low}", "echo $HOSTNAME > /data/x", volume=of_claim(f"hand-{low}")),
        )
    for kind in names:
        low = kind.lower()
        cluster.ended(f"hand-{low}")
        assert (tmp_path / kind / "x").read_text() == f"hand-{low}\n"
        cluster.kubectl("delete", "pod", f"hand-{low}", "--timeout=140s")
        cluster.kubectl("delete", "pvc", f"hand-{low}", "--timeout=140s")
        cluster.reaches("pv", f"hand-{low}", ".status.phase", "Released")
        cluster.kubectl("delete", "pv", f"hand-{low}", "--timeout=140s")
        assert (tmp_path / kind / "x").exists()


@needs_loop
def test_a_block_volume_is_a_device_that_keeps_its_content(cluster: VolumeCluster) -> None:
    devices = {"volumeMounts": [], "volumeDevices": [{"name": "v", "devicePath": "/dev/disk"}]}
    cluster.apply(claim("raw", volumeMode="Block"))
    for name, script in (
        ("raw-1", "test -b /dev/disk && printf hello | dd of=/dev/disk conv=notrunc 2>/dev/null"),
        ("raw-2", "head -c 5 /dev/disk"),
    ):
        cluster.apply(user(name, script, volume=of_claim("raw"), container=devices))
        said = cluster.ended(name)
        cluster.kubectl("delete", "pod", name, "--timeout=140s")
    assert said == "hello"
    name = cluster.get("pvc", "raw")["spec"]["volumeName"]
    assert not mounting.loop_devices(str(local_volumes(cluster) / name / "image"))
    cluster.kubectl("delete", "pvc", "raw", "--timeout=140s")
    cluster.gone(f"pv/{name}")


def test_an_ephemeral_volume_ends_with_its_pod_and_parts_of_it_can_be_mounted(
    cluster: VolumeCluster,
) -> None:
    spec = claim("x")["spec"]
    volume = {"ephemeral": {"volumeClaimTemplate": {"spec": spec}}}
    mounts = [
        {"name": "v", "mountPath": "/data"},
        {"name": "v", "mountPath": "/part", "subPathExpr": "of-$(POD)"},
        {"name": "v", "mountPath": "/only", "readOnly": True},
    ]
    env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    script = "echo x > /part/y; cat /data/of-scratch/y; touch /only/z || echo read-only"
    container = {"volumeMounts": mounts, "env": env}
    cluster.apply(user("scratch", script, volume=volume, container=container))
    said = cluster.ended("scratch")
    assert "x\n" in said
    assert "read-only\n" in said
    name = cluster.get("pvc", "scratch-v")["spec"]["volumeName"]
    cluster.kubectl("delete", "pod", "scratch", "--timeout=140s")
    cluster.gone("pvc/scratch-v", f"pv/{name}")
    assert not mounted(cluster)


def test_only_one_pod_has_a_volume_that_is_for_one(cluster: VolumeCluster) -> None:
    cluster.apply(
        claim("single", accessModes=["ReadWriteOncePod"]),
        user("single-1", "exec sleep 1000", volume=of_claim("single")),
    )
    cluster.runs("single-1")
    bound = user("single-2", "echo mine", volume=of_claim("single"), nodeName="node-1")
    cluster.apply(bound)
    eventually(
        lambda: "in use by another pod" in cluster.kubectl("describe", "pod", "single-2"), 50
    )
    cluster.kubectl("delete", "pod", "single-1", "--timeout=140s")
    assert cluster.ended("single-2") == "mine\n"
    cluster.kubectl("delete", "pod", "single-2", "--timeout=140s")
    cluster.kubectl("delete", "pvc", "single", "--timeout=140s")


def test_volumes_stay_while_the_kubelet_restarts_and_go_with_pods_that_went_meanwhile(
    cluster: VolumeCluster,
) -> None:
    script = "echo before > /data/x; until [ -e /data/go ]; do sleep 0.2; done; exec sleep 1000"
    cluster.apply(claim("stays"), user("stays", script, volume=of_claim("stays")))
    cluster.runs("stays")
    name = cluster.get("pvc", "stays")["spec"]["volumeName"]
    cluster.restart_kubelet()
    cluster.kubectl("exec", "stays", "--", "sh", "-c", "cat /data/x; touch /data/go")
    cluster._started.remove(cluster.kubelet)
    cluster._call(cluster.kubelet.stop())
    cluster.kubectl("delete", "pod", "stays", "--force", "--grace-period=0")
    cluster._call(cluster.start_kubelet())
    eventually(lambda: not mounted(cluster), 180)
    cluster.kubectl("delete", "pvc", "stays", "--timeout=140s")
    cluster.gone(f"pv/{name}")
    assert name not in os.listdir(local_volumes(cluster))


def test_a_hostile_pod_gets_nothing_outside_its_volume(cluster: VolumeCluster) -> None:
    """It makes links in a shared volume, which another container then mounts a part of."""
    hostile = "ln -s / /data/root; ln -s ../../../../../../../.. /data/up; echo done"
    parts = [
        {
            "name": f"part-{index}",
            "image": "any",
            "command": ["sh", "-c", "ls /part"],
            "volumeMounts": [{"name": "v", "mountPath": "/part", "subPath": path}],
        }
        for index, path in enumerate(("root/etc", "up/etc", "root"))
    ]
    pod = user("hostile", hostile, volume={"emptyDir": {}})
    pod["spec"]["initContainers"] = pod["spec"]["containers"]
    pod["spec"]["containers"] = parts
    cluster.apply(pod)

    def refused() -> bool:
        statuses = cluster.get("pod", "hostile")["status"].get("containerStatuses") or ()
        waiting = [status["state"].get("waiting") or {} for status in statuses]
        return len(waiting) == 3 and all(
            entry.get("reason") == "CreateContainerConfigError"
            and "leads out of volume" in entry.get("message", "")
            for entry in waiting
        )

    eventually(refused, 180)
    cluster.kubectl("delete", "pod", "hostile", "--timeout=140s")
