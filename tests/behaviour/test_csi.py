"""A CSI driver in a process of its own: provisioned, attached, staged, grown, snapshotted, gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import csi_driver
import pytest
from node_cluster import eventually, needs_kubectl, needs_root
from volume_cluster import VolumeCluster, claim, of_claim, user

from cluster.kubelet.runtimes import host_mounts

pytestmark = [needs_kubectl, needs_root]
WAIT_S = 180.0
SNAPSHOT = "snapshot.storage.k8s.io"


class Driver:
    """The process of the driver, and its folder."""

    def __init__(self, folder: Path, cluster: VolumeCluster) -> None:
        self.folder, self.cluster = folder, cluster
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = [sys.executable, csi_driver.__file__, str(self.folder)]
        root = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            program, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        registry = Path(self.cluster.data_dir) / "plugins_registry/folders.sock"
        for link, socket in (
            (registry, "reg.sock"),
            (self.cluster.csi / "folders.sock", "csi.sock"),
        ):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(self.folder / socket)

    def stop(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def calls(self, name: str) -> int:
        return (self.folder / "calls").read_text().split().count(name)

    def fail(self, name: str, code: str) -> None:
        (self.folder / f"fail-{name}").write_text(code)

    def heal(self, name: str) -> None:
        (self.folder / f"fail-{name}").unlink()

    def record(self, name: str) -> dict[str, Any]:
        return csi_driver.record(self.folder / "volumes" / name)

    def volumes(self) -> list[str]:
        return sorted(os.listdir(self.folder / "volumes"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VolumeCluster]:
    folder = tmp_path_factory.mktemp("cluster")
    made = VolumeCluster(folder, csi_folder=str(folder / "csi"))
    made.csi = folder / "csi"
    yield made
    made.close()


@pytest.fixture(scope="module")
def driver(cluster: VolumeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    made = Driver(tmp_path_factory.mktemp("d"), cluster)
    (made.folder / "limit").write_text("7")
    made.start()
    head = {"apiVersion": "storage.k8s.io/v1", "metadata": {"name": csi_driver.NAME}}
    modes = ["Persistent", "Ephemeral"]
    cluster.apply(
        head
        | {
            "kind": "CSIDriver",
            "spec": {
                "attachRequired": True,
                "podInfoOnMount": True,
                "storageCapacity": True,
                "fsGroupPolicy": "File",
                "volumeLifecycleModes": modes,
            },
        },
        head
        | {
            "kind": "StorageClass",
            "metadata": {"name": "folders"},
            "provisioner": csi_driver.NAME,
            "parameters": {"flavour": "plain", "csi.storage.k8s.io/fstype": "none"},
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        },
    )
    listed = f'.spec.drivers[?(@.name=="{csi_driver.NAME}")]'
    cluster.eventually_get("csinode", "node-1")
    cluster.reaches("csinode", "node-1", f"{listed}.allocatable.count", "7")
    yield made
    made.stop()


def mounted(cluster: VolumeCluster) -> list[str]:
    return [point for point, _ in host_mounts.mounts() if point.startswith(cluster.data_dir)]


def on(name: str, **more: Any) -> dict[str, Any]:
    return claim(name, storageClassName="folders", **more)


def test_a_node_says_which_drivers_it_has_and_where_they_see_it(
    cluster: VolumeCluster, driver: Driver
) -> None:
    (entry,) = cluster.get("csinode", "node-1")["spec"]["drivers"]
    assert entry == {
        "name": csi_driver.NAME,
        "nodeID": csi_driver.NODE,
        "topologyKeys": [csi_driver.ZONE],
        "allocatable": {"count": 7},
    }
    assert cluster.get("node", "node-1")["metadata"]["labels"][csi_driver.ZONE] == "z1"
    assert (driver.folder / "registered").read_text() == "True"


def test_a_volume_is_made_attached_staged_and_published_and_all_of_it_is_undone(
    cluster: VolumeCluster, driver: Driver
) -> None:
    script = "echo kept > /data/x; stat -c %g /data; echo up; exec sleep 1000"
    group = {"fsGroup": 4321}
    cluster.apply(on("life"), user("life", script, volume=of_claim("life"), securityContext=group))
    cluster.runs("life")
    name = cluster.get("pvc", "life")["spec"]["volumeName"]
    volume = cluster.get("pv", name)
    assert volume["spec"]["csi"]["volumeAttributes"] == {
        "made-by": csi_driver.NAME,
        "flavour": "plain",
    }
    required = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert required[0]["matchExpressions"][0]["key"] == csi_driver.ZONE
    (attachment,) = cluster.get("volumeattachment")["items"]
    assert attachment["status"]["attached"] is True
    unique = f"kubernetes.io/csi/{csi_driver.NAME}^{name}"
    status = cluster.get("node", "node-1")["status"]
    assert [each["name"] for each in status["volumesAttached"]] == [unique]
    assert status["volumesInUse"] == [unique]
    assert driver.record(name)["attached"] == csi_driver.NODE
    eventually(lambda: "4321" in cluster.kubectl("logs", "life"), WAIT_S)
    cluster.kubectl("delete", "pod", "life", "--timeout=140s")
    cluster.gone(f"volumeattachment/{attachment['metadata']['name']}")
    assert driver.record(name)["attached"] == ""
    cluster.kubectl("delete", "pvc", "life", "--timeout=140s")
    cluster.gone(f"pv/{name}")
    assert name not in driver.volumes()
    assert not mounted(cluster)


def test_a_driver_that_fails_or_dies_is_tried_again_and_nothing_is_lost(
    cluster: VolumeCluster, driver: Driver
) -> None:
    for call in ("CreateVolume", "ControllerPublishVolume", "NodeStageVolume"):
        driver.fail(call, "UNAVAILABLE")
    cluster.apply(
        on("hard"), user("hard", "echo x > /data/x; cat /data/x", volume=of_claim("hard"))
    )
    for call in ("CreateVolume", "ControllerPublishVolume", "NodeStageVolume"):
        eventually(lambda call=call: driver.calls(call) >= 2, WAIT_S)
        driver.heal(call)
    assert cluster.ended("hard") == "x\n"
    driver.stop()
    cluster.kubectl("delete", "pod", "hard", "--wait=false")
    driver.start()
    cluster.gone("pod/hard")
    cluster.kubectl("delete", "pvc", "hard", "--timeout=140s")
    eventually(lambda: not driver.volumes(), WAIT_S)
    assert not mounted(cluster)


def test_a_volume_grows_in_the_driver_then_on_the_node(
    cluster: VolumeCluster, driver: Driver
) -> None:
    cluster.apply(on("grow"), user("grow", "exec sleep 1000", volume=of_claim("grow")))
    cluster.runs("grow")
    name = cluster.get("pvc", "grow")["spec"]["volumeName"]
    patch = '{"spec":{"resources":{"requests":{"storage":"32Mi"}}}}'
    cluster.kubectl("patch", "pvc", "grow", "-p", patch)
    cluster.reaches("pvc", "grow", ".status.capacity.storage", "32Mi")
    record = driver.record(name)
    assert (record["size"], record["grown"]) == (32 << 20, 32 << 20)
    cluster.kubectl("delete", "pod", "grow", "--timeout=140s")
    cluster.kubectl("delete", "pvc", "grow", "--timeout=140s")
    eventually(lambda: not driver.volumes(), WAIT_S)


def test_a_pod_may_bring_a_volume_of_a_driver_with_it(
    cluster: VolumeCluster, driver: Driver
) -> None:
    attributes = {"ephemeral": "yes"}
    inline = {"csi": {"driver": csi_driver.NAME, "volumeAttributes": attributes}}
    cluster.apply(user("inline", "echo x > /data/x; cat /data/x", volume=inline))
    assert cluster.ended("inline") == "x\n"
    cluster.kubectl("delete", "pod", "inline", "--timeout=140s")
    assert not mounted(cluster)
    assert not os.listdir(driver.folder / "inline")


def test_a_snapshot_is_taken_restored_and_deleted(cluster: VolumeCluster, driver: Driver) -> None:
    kinds = ("volumesnapshotclasses", "volumesnapshotcontents", "volumesnapshots")
    for kind in kinds:
        cluster.eventually_get("crd", f"{kind}.{SNAPSHOT}")
        cluster.kubectl(
            "wait", "--for=condition=Established", f"crd/{kind}.{SNAPSHOT}", "--timeout=140s"
        )
    write = user("writes", "echo first > /data/x", volume=of_claim("origin"))
    cluster.apply(on("origin"), write)
    cluster.ended("writes")
    head = {"apiVersion": f"{SNAPSHOT}/v1", "metadata": {"name": "snap"}}
    cluster.apply(
        head
        | {"kind": "VolumeSnapshotClass", "driver": csi_driver.NAME, "deletionPolicy": "Delete"},
        head
        | {
            "kind": "VolumeSnapshot",
            "spec": {
                "volumeSnapshotClassName": "snap",
                "source": {"persistentVolumeClaimName": "origin"},
            },
        },
    )
    cluster.reaches("volumesnapshot", "snap", ".status.readyToUse", "true")
    cluster.apply(
        user("changes", "echo second > /data/x; echo ok", volume=of_claim("origin")),
    )
    assert cluster.ended("changes") == "ok\n"
    source = {"apiGroup": SNAPSHOT, "kind": "VolumeSnapshot", "name": "snap"}
    cluster.apply(
        on("restored", dataSource=source),
        user("reads", "cat /data/x", volume=of_claim("restored")),
        on("cloned", dataSource={"kind": "PersistentVolumeClaim", "name": "origin"}),
        user("clone", "cat /data/x", volume=of_claim("cloned")),
    )
    assert cluster.ended("reads") == "first\n"
    assert cluster.ended("clone") == "second\n"
    assert os.listdir(driver.folder / "snapshots")
    cluster.kubectl("delete", "volumesnapshot", "snap", "--timeout=140s")
    assert not os.listdir(driver.folder / "snapshots")
    assert not cluster.get("volumesnapshotcontents")["items"]
    cluster.kubectl("delete", "pod", "writes", "changes", "reads", "clone", "--timeout=140s")
    cluster.kubectl("delete", "pvc", "origin", "restored", "cloned", "--timeout=140s")
    eventually(lambda: not driver.volumes(), WAIT_S)
    assert not mounted(cluster)
