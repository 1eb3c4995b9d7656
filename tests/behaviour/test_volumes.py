"""Claims, their volumes and what pods see of them, through the real kubectl."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

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
    cluster.kubectl("delete", "pod", "db-0", "--timeout=50s")
    eventually(lambda: cluster.eventually_get("pod", "db-0")["metadata"]["uid"] != first, 90)
    cluster.runs("db-0")
    eventually(lambda: cluster.kubectl("logs", "db-0") == "db-0\n", 90)
    volumes = [v["metadata"]["name"] for v in cluster.get("pv")["items"]]
    assert sorted(os.listdir(local_volumes(cluster))) == sorted(volumes)
    cluster.kubectl("delete", "statefulset", "db", "--timeout=50s")
    cluster.gone("pod/db-0", "pod/db-1")
    cluster.kubectl("delete", "pvc", "data-db-0", "data-db-1", "--timeout=50s")
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
    cluster.kubectl("delete", "pod", "fills", "--timeout=50s")
    script = "rm /data/x; until head -c 40M /dev/zero 2>/dev/null > /data/y; do sleep 0.5; done"
    cluster.apply(user("grows", f"{script}; echo grown", volume=of_claim("sized")))
    cluster.reaches("pod", "grows", ".status.phase", "Running")
    patch = '{"spec":{"resources":{"requests":{"storage":"64Mi"}}}}'
    cluster.kubectl("patch", "pvc", "sized", "-p", patch)
    if not mounting.can_grow_mounted():
        pending = '.status.conditions[?(@.type=="FileSystemResizePending")].status'
        cluster.reaches("pvc", "sized", pending, "True")
        cluster.kubectl("delete", "pod", "grows", "--timeout=50s")
        script = script.removeprefix("rm /data/x; ")
        cluster.apply(user("grows", f"{script}; echo grown", volume=of_claim("sized")))
    assert cluster.ended("grows").splitlines()[-1] == "grown"
    cluster.reaches("pvc", "sized", ".status.capacity.storage", "64Mi")
    status = cluster.get("pvc", "sized")["status"]
    assert not status.get("conditions")
    cluster.kubectl("delete", "pod", "grows", "--timeout=50s")
    cluster.kubectl("delete", "pvc", "sized", "--timeout=50s")
