"""The runtimes of the suite. Each starts a node of its own for the plane, as real as it can be."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import containerd
import image_archives
import pytest

from actors.seams import system_seams
from cluster.faults.kubelets.process import KubeletProcess
from cluster.kubelet.runtimes.reap import reap
from cluster.kubelet.simulated.fleet import Fleet
from cluster.kubelet.simulated.nodes import Model
from cluster.kubelet.simulated.registration import register
from suite import other_user
from suite.plane import PATIENCE_S, Object, Plane, eventually

OTHER_USER = 1234
SAYING = "raykube.test/says:1"
"""An image whose own command prints "said by default"."""
NUMBERS = {"process-user": 1, "process-root": 2, "cri": 3, "simulated": 4}
HTTP_SERVER = 'exec {python} -m http.server --bind "$POD_IP" 8080'


@dataclass
class Node:
    """A node of the plane. `namespace` is for what its tests make."""

    plane: Plane
    runtime: str
    name: str
    namespace: str
    image: str = "any"
    non_root: Object = field(default_factory=lambda: {"runAsUser": 1000})
    """A security context of somebody who is not root; empty where nobody is."""
    http_server: str = ""
    """A command for sh that serves the working folder at $POD_IP:8080."""
    service_ip: str = ""
    """Of a Service in the namespace, which was there before the node: fooservice, port 8765."""
    shared_folder: str = ""
    """On the machine, for everybody; it goes with the node."""

    def pod(self, name: str, *containers: Object, **more: Any) -> Object:
        """With `metadata` and fields of the spec, for this node alone."""
        metadata = {"name": name, "labels": {"app": name}} | more.pop("metadata", {})
        named = [{"image": self.image} | container for container in containers]
        inits = [{"image": self.image} | c for c in more.pop("initContainers", ())]
        spec = {
            "nodeSelector": {"kubernetes.io/hostname": self.name},
            "terminationGracePeriodSeconds": 2,
            "containers": named,
            **({"initContainers": inits} if inits else {}),
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec | more}

    def apply(self, *objects: Object) -> None:
        self.plane.apply(self.namespace, *objects)

    def kubectl(self, *arguments: str, **more: Any) -> str:
        return str(self.plane.kubectl("-n", self.namespace, *arguments, **more))

    def read(self, name: str, resource: str = "pods") -> Object:
        return self.plane.read(resource, name, self.namespace)

    def logs(self, pod: str, container: str = "", **options: Any) -> str:
        return self.plane.logs(self.namespace, pod, container, **options)

    def until(self, name: str, check: Any, timeout_s: float = PATIENCE_S) -> Object:
        """The pod, once `check(pod)` is true of it."""

        def now() -> Object | None:
            found = self.read(name)
            assert check(found), json.dumps(found.get("status"))[-3000:]
            return found

        return eventually(now, timeout_s)

    def shell(self, pod: str, script: str, container: str = "") -> str:
        """What a command in the pod prints, by kubectl exec."""
        where = ["-c", container] if container else []
        return self.kubectl("exec", pod, *where, "--", "sh", "-c", script)


@contextlib.contextmanager
def started(plane: Plane, runtime: str) -> Iterator[Node]:
    """A Ready node over this runtime, for the block. Skips with the reason where it cannot be."""
    namespace = plane.namespace(f"on-{runtime}")
    plane.kubectl("-n", namespace, "create", "service", "clusterip", "fooservice", "--tcp=8765")
    maker = {"process-user": _process_user, "process-root": _process_root, "cri": _cri}
    make = maker.get(runtime, _simulated)
    with (
        tempfile.TemporaryDirectory(prefix="rk-shared-") as shared,
        make(plane, runtime, namespace) as node,
    ):
        os.chmod(shared, 0o777)
        node.shared_folder = shared
        plane.kubectl("wait", "--for=create", f"node/{node.name}", f"--timeout={PATIENCE_S}s")
        ready = ("wait", "--for=condition=Ready", f"node/{node.name}")
        plane.kubectl(*ready, f"--timeout={PATIENCE_S}s")
        service = plane.read("services", "fooservice", namespace)
        node.service_ip = service["spec"]["clusterIP"]
        yield node


def kubelet_config(plane: Plane, name: str, data_dir: str, number: int) -> Object:
    ip = f"127.90.{number}.1"
    return {
        "node_name": name,
        "node_ip": ip,
        "client": plane.servers(f"system:node:{name}", ["system:nodes"]),
        "data_dir": data_dir,
        "pod_cidr": f"127.90.{number}.0/24",
        "cluster_dns": "127.99.0.10",
        "cluster_domain": "cluster.local",
        "tls": plane.authority.issue(f"{name}-serving", server=True, dns=ip),
        "port": 0,
        "lease_s": 20.0,
        "backoff_initial_s": 0.5,
    }


@contextlib.contextmanager
def kubelet_process(
    plane: Plane, name: str, number: int, user: int | None = None, **more: Any
) -> Iterator[KubeletProcess]:
    """Everything of it is gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="rk-node-"))
    folder.chmod(0o755)
    data_dir = str(folder / "data")
    config = kubelet_config(plane, name, data_dir, number) | more
    if user is not None:
        _give(folder, config, user)
    prefix = other_user.command(user) if user is not None else []
    made = KubeletProcess(config, folder, prefix)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        reap(data_dir)
        shutil.rmtree(folder, ignore_errors=True)


def _give(folder: Path, config: Object, user: int) -> None:
    """Its folder and the keys that it needs, to another user."""
    os.chown(folder, user, user)
    for files in (config["client"], config["tls"]):
        for part in ("ca", "cert", "key"):
            own = folder / f"{id(files)}.{part}"
            shutil.copy(files[part], own)
            os.chown(own, user, user)
            files[part] = str(own)


@contextlib.contextmanager
def _process_user(plane: Plane, runtime: str, namespace: str) -> Iterator[Node]:
    user = OTHER_USER if os.geteuid() == 0 else None
    if user is not None and (reason := other_user.why_not(user)):
        pytest.skip(reason)
    python = HTTP_SERVER.format(python=sys.executable)
    with kubelet_process(plane, runtime, NUMBERS[runtime], user):
        yield Node(plane, runtime, runtime, namespace, non_root={}, http_server=python)


@contextlib.contextmanager
def _process_root(plane: Plane, runtime: str, namespace: str) -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    python = HTTP_SERVER.format(python=sys.executable)
    with kubelet_process(plane, runtime, NUMBERS[runtime]):
        yield Node(plane, runtime, runtime, namespace, http_server=python)


@contextlib.contextmanager
def _cri(plane: Plane, runtime: str, namespace: str) -> Iterator[Node]:
    if containerd.WHY_NOT:
        pytest.skip(f"containerd: {containerd.WHY_NOT}")
    with contextlib.closing(containerd.Containerd()) as daemon:
        defaults = {"Entrypoint": ["/bin/echo", "said"], "Cmd": ["by", "default"]}
        path = daemon.folder / "says.tar"
        daemon.load(image_archives.busybox(path, SAYING, **defaults))
        more = {"runtime": "cri", "runtime_endpoint": daemon.endpoint}
        with kubelet_process(plane, runtime, NUMBERS[runtime], **more):
            made = Node(plane, runtime, runtime, namespace, containerd.IMAGE)
            made.http_server = 'exec httpd -f -vv -p "$POD_IP:8080"'
            yield made


@contextlib.contextmanager
def _simulated(plane: Plane, runtime: str, namespace: str) -> Iterator[Node]:
    fleet = Fleet()
    config = {
        "name": "suite",
        "client": plane.servers("fleet", ["system:masters"]),
        "address": "127.0.0.1",
        "tls": plane.authority.issue("fleet-server", ["system:nodes"], server=True),
    }
    plane.call(fleet.start(system_seams(), config))
    (name,) = plane.call(register(plane.client, 1, Model(), fleets=["suite"], prefix="simulated"))
    try:
        yield Node(plane, runtime, name, namespace)
    finally:
        plane.call(fleet.stop())
