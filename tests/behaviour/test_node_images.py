"""Pods from images of a registry: pulled with a secret, run in a root of their own, and refused."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from node_cluster import Cluster, eventually, needs_kubectl, needs_root, pod
from registries import DOCKER_REGISTRY, PASSWORD, USER, DockerRegistry, docker_registry

from cluster.kubelet.images import packing
from cluster.kubelet.images.names import parse
from cluster.kubelet.images.store import ImageStore
from cluster.kubelet.node_object import architecture

BUSYBOX = "/bin/busybox"
WAIT = "120s"
pytestmark = [
    needs_kubectl,
    needs_root,
    pytest.mark.skipif(DOCKER_REGISTRY is None, reason="docker-registry is not installed"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="busybox-static is not installed"),
]


def make_root(folder: Path) -> Path:
    for name in ("bin", "etc", "tmp"):
        (folder / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, folder / "bin" / "busybox")
    for name in ("sh", "cat", "id", "sleep", "hostname", "ls", "pwd", "test"):
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc" / "passwd").write_text("app:x:1000:1000::/tmp:/bin/sh\n")
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    top = tmp_path_factory.mktemp("registry")
    store = ImageStore(str(top / "store"))
    run = {"Entrypoint": ["sh", "-c"], "Cmd": ["id -u; echo $WHO; exec sleep 10000"],
           "User": "app", "Env": ["WHO=image"]}  # fmt: skip
    root = make_root(top / "root")
    packing.from_root(store, str(root), architecture(), parse("app:1"), run)
    with docker_registry(top / "registry", password=True) as found:
        found.push(Path(store.folder), "team/app", "1")
        yield found


@pytest.fixture(scope="module")
def cluster(
    registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    node = {"registries": {registry.address: {"plain_http": True}}, "status_s": 1.0}
    made = Cluster(tmp_path_factory.mktemp("cluster"), node=node)
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    config = json.dumps({"auths": {registry.address: {"auth": auth}}}).encode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"}}
    secret["type"] = "kubernetes.io/dockerconfigjson"
    made.apply(secret | {"data": {".dockerconfigjson": base64.b64encode(config).decode()}})
    yield made
    made.close()


def of_image(name: str, image: str, **more: Any) -> dict[str, Any]:
    policy = more.pop("policy", "IfNotPresent")
    made = pod(name, container={"image": image, "imagePullPolicy": policy}, **more)
    del made["spec"]["containers"][0]["command"]
    return made


def waits_for(cluster: Cluster, name: str, reason: str) -> None:
    def waits() -> bool:
        statuses = cluster.get("pod", name)["status"].get("containerStatuses") or [{}]
        return bool((statuses[0].get("state") or {}).get("waiting", {}).get("reason") == reason)

    eventually(waits, 120)


def test_an_image_is_pulled_with_the_pods_secret_and_runs(
    cluster: Cluster, registry: DockerRegistry
) -> None:
    image = f"{registry.address}/team/app:1"
    cluster.apply(of_image("pulled", image, imagePullSecrets=[{"name": "pull"}]))
    cluster.wait("pulled", "condition=Ready", WAIT)
    status = cluster.get("pod", "pulled")["status"]["containerStatuses"][0]
    assert status["imageID"].startswith(f"{registry.address}/team/app@sha256:")
    eventually(lambda: cluster.kubectl("logs", "pulled") == "1000\nimage\n", 60)
    inside = cluster.kubectl("exec", "pulled", "--", "sh", "-c", "hostname; id -u; ls /")
    assert inside.split()[:2] == ["pulled", "1000"]
    assert "boot" not in inside
    eventually(lambda: "Successfully pulled image" in cluster.kubectl("describe", "pod", "pulled"))

    def names() -> list[str]:
        images = cluster.get("node", "node-1")["status"].get("images") or ()
        return [name for each in images for name in each["names"]]

    eventually(lambda: image in names(), 60)


def test_it_goes_on_over_a_restart_of_the_kubelet_and_leaves_no_mounts(cluster: Cluster) -> None:
    before = cluster.get("pod", "pulled")["status"]["containerStatuses"][0]
    cluster.restart_kubelet()
    eventually(lambda: "image" in cluster.kubectl("exec", "pulled", "--", "sh", "-c", "echo $WHO"))
    after = cluster.get("pod", "pulled")["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    assert after["imageID"] == before["imageID"]
    cluster.kubectl("delete", "pod", "pulled", "--grace-period=1", f"--timeout={WAIT}")
    assert cluster.data_dir not in Path("/proc/self/mountinfo").read_text()


def test_an_image_is_a_volume(cluster: Cluster, registry: DockerRegistry) -> None:
    image = f"{registry.address}/team/app:1"
    volume = {"name": "v", "image": {"reference": image, "pullPolicy": "IfNotPresent"}}
    mount = {"name": "v", "mountPath": "/files"}
    script = "cat /files/etc/passwd; touch /files/new || echo read only; sleep 1000"
    container = {"image": image, "command": ["sh", "-c", script], "volumeMounts": [mount]}
    cluster.apply(pod("volume", container=container, volumes=[volume]))
    cluster.wait("volume", "condition=Ready", WAIT)
    eventually(lambda: "read only" in cluster.kubectl("logs", "volume"), 60)
    assert "app:x:1000" in cluster.kubectl("logs", "volume")
    cluster.restart_kubelet()
    cluster.kubectl("delete", "pod", "volume", "--grace-period=1", f"--timeout={WAIT}")
    assert "volumes/image" not in Path("/proc/self/mountinfo").read_text()


def test_what_is_here_needs_no_registry(cluster: Cluster, registry: DockerRegistry) -> None:
    cluster.apply(of_image("again", f"{registry.address}/team/app:1", policy="Never"))
    cluster.wait("again", "condition=Ready", WAIT)
    cluster.kubectl("delete", "pod", "again", "--grace-period=1", f"--timeout={WAIT}")


def test_what_cannot_be_had_says_why(cluster: Cluster, registry: DockerRegistry) -> None:
    cluster.apply(of_image("denied", f"{registry.address}/team/app:1", policy="Always"))
    cluster.apply(of_image("missing", f"{registry.address}/team/none:1", policy="Never"))
    cluster.apply(of_image("wrong", f"{registry.address}/Team:1:2"))
    waits_for(cluster, "denied", "ImagePullBackOff")
    assert "pull access denied" in cluster.kubectl("describe", "pod", "denied")
    waits_for(cluster, "missing", "ErrImageNeverPull")
    waits_for(cluster, "wrong", "InvalidImageName")
    names = ["denied", "missing", "wrong"]
    cluster.kubectl("delete", "pod", *names, "--grace-period=1", f"--timeout={WAIT}")
