"""An API server over a store in memory, clients for it, and a stand-in for kubelets."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest

from actors.seams import system_seams
from cluster.client import Client, ClientConfig, Informer
from cluster.controllers.manager import ControllerManager
from cluster.kubelet.simulated.fleet import Fleet
from cluster.kubelet.simulated.nodes import Model
from cluster.kubelet.simulated.registration import register
from cluster.machinery import jwt, meta
from cluster.machinery.status import ApiError
from cluster.pki import Authority
from cluster.scheduler.scheduler import Scheduler

QUICK = {"lease_s": 6.0, "renew_s": 5.0, "retry_s": 0.2}
"""Who stops releases the lease; who is slow must not lose it on a busy machine."""


class Plane:
    """One API server and whatever was started against it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seams = system_seams()
        self.authority = Authority.create("test-ca")
        self.front = Authority.create("test-front-proxy-ca")
        self.started = []
        self.clients = []
        self.kubelet = None

    def identity(self, user, groups=(), names=(), authority=None):
        """Paths of a certificate's files."""
        authority = authority or self.authority
        pair = authority.issue(user, list(groups), names=list(names))
        paths = {}
        parts = {"ca": authority.pair.certificate, "cert": pair.certificate, "key": pair.key}
        for part, data in parts.items():
            path = self.folder / f"{user.replace(':', '-')}.{part}"
            path.write_bytes(data)
            paths[part] = str(path)
        return paths

    @property
    def account_key(self):
        """The file of the key that signs service accounts' tokens."""
        path = self.folder / "service-account.key"
        if not path.exists():
            path.write_bytes(jwt.new_signing_key())
        return str(path)

    @property
    def request_header(self):
        """How extensions know the API server as a front proxy."""
        files = self.identity("front-proxy-client", authority=self.front)
        return {"ca": files["ca"], "allowed_names": ["front-proxy-client"]}

    async def start_server(self):
        server = api_server()
        tls = self.identity("kube-apiserver", names=["127.0.0.1", "localhost"])
        config = {
            "name": "api",
            "address": "127.0.0.1:0",
            "advertise_address": "127.0.0.1",
            "store": [],
            "store_tls": None,
            "tls": tls,
            "kubelet_tls": self.identity("kubelet-client", ["system:masters"]),
            "service_cidr": "127.200.0.0/16",
            "event_ttl_s": 3600,
            "service_account": {"key": self.account_key},
            "request_header": self.request_header,
            "proxy_client": self.identity("front-proxy-client", authority=self.front),
            # nodes of tests are ready from the start, with or without a controller that says so
            "disable_admission_plugins": ["TaintNodesByCondition"],
        }
        await server.start(self.seams, config)
        self.started.append(server)
        self.url = f"https://{server.address}"
        admin = self.identity("admin", ["system:masters"])
        self.client_config = {"servers": [self.url], **admin}
        self.client = self.new_client()

        async def ready():
            return (await self.client.raw("GET", "/readyz")).status == 200

        await self.until(ready)

    def new_client(self):
        client = Client(ClientConfig.from_dict(self.client_config), self.seams, "test")
        self.clients.append(client)
        return client

    async def manager(self, name="cm-0", **config):
        manager = ControllerManager()
        given = {"name": name, "client": self.client_config, "election": QUICK, **config}
        await manager.start(self.seams, given)
        self.started.append(manager)
        return manager

    async def scheduler(self, name="sched-0", **more):
        scheduler = Scheduler()
        config = {"name": name, "client": self.client_config, "election": QUICK, **more}
        await scheduler.start(self.seams, config)
        self.started.append(scheduler)
        return scheduler

    async def fleet(self, name="fleet-0", *, tls=False, **config):
        """Simulated nodes; `nodes` makes some."""
        fleet = Fleet()
        given = {"name": name, "client": self.client_config, "address": "127.0.0.1", **config}
        if tls:
            given["tls"] = self.identity("fleet", ["system:nodes"], names=["127.0.0.1"])
        await fleet.start(self.seams, given)
        self.started.append(fleet)
        return fleet

    async def nodes(self, count, model=None, fleets=("fleet-0",)):
        """Names of new simulated nodes, once they are Ready."""
        names = await register(self.client, count, model or Model(), fleets=fleets)

        async def ready():
            found = {n["metadata"]["name"]: n for n in await self.items("nodes", "")}
            return all(meta.condition_is(found[name], "Ready") for name in names)

        await self.until(ready)
        return names

    async def stop(self, component):
        self.started.remove(component)
        await component.stop()

    async def run_pods(self, **options):
        self.kubelet = Kubelet(self, **options)
        await self.kubelet.start()
        return self.kubelet

    async def close(self):
        if self.kubelet is not None:
            await self.kubelet.stop()
        server, *others = self.started
        for component in reversed(others):
            await component.stop()
        for client in self.clients:
            await client.close()
        await server.stop()

    async def kubectl(self, *arguments):
        """Run the real kubectl as an administrator; its output, once it has succeeded."""
        program = shutil.which("kubectl")
        if program is None:
            pytest.skip("kubectl is not on PATH: scripts/test installs it")
        process = await asyncio.create_subprocess_exec(
            program,
            f"--server={self.url}",
            f"--certificate-authority={self.client_config['ca']}",
            f"--client-certificate={self.client_config['cert']}",
            f"--client-key={self.client_config['key']}",
            f"--cache-dir={self.folder}/kubectl",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    # Shorthands

    async def items(self, resource, namespace="default", selector=""):
        listed = await self.client.list(resource, namespace, label_selector=selector)
        return listed["items"]

    async def until(self, check, timeout_s=15.0):
        """Wait until `await check()` is true, and return what it gave."""
        deadline_s = self.seams.clock.now() + timeout_s
        while True:
            found = await check()
            if found:
                return found
            if self.seams.clock.now() > deadline_s:
                pytest.fail(f"not within {timeout_s} s: {check.__name__} gave {found!r}")
            await asyncio.sleep(0.02)

    async def gone(self, resource, name, namespace="default"):
        async def is_gone():
            try:
                await self.client.get(resource, name, namespace)
            except ApiError as error:
                return error.code == 404
            return False

        await self.until(is_gone)

    async def leading(self, component):
        async def leads():
            return (await component.health()).facts.get("leader")

        await self.until(leads)


class Kubelet:
    """Gives pods a node, an address and a Ready status, and ends those that are deleted."""

    def __init__(self, plane, *, ready=lambda pod: True, bind=True):
        self.plane = plane
        self.ready = ready
        self.bind = bind
        self.informer = Informer(plane.client, "pods")
        self.queue = asyncio.Queue()
        self.addresses = iter(range(2, 60000))
        self.task = None

    async def start(self):
        self.informer.subscribe(lambda kind, old, new: self.queue.put_nowait(new))
        self.informer.start()
        self.task = asyncio.create_task(self._run())

    async def stop(self):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await self.informer.stop()

    async def _run(self):
        while True:
            pod = await self.queue.get()
            if pod is not None:
                with contextlib.suppress(ApiError):
                    await self._step(pod)

    async def _step(self, pod):
        client, metadata = self.plane.client, pod["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        node = pod["spec"].get("nodeName")
        if metadata.get("deletionTimestamp"):
            await client.delete("pods", name, namespace, grace_period_s=0, uid=metadata["uid"])
        elif not node and self.bind:
            target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name, "namespace": namespace},
                "target": target,
            }
            await client.create("pods", binding, namespace, subresource="binding", name=name)
        elif node and "podIP" not in (pod.get("status") or {}):
            await client.patch(
                "pods", name, self._status(pod), namespace, kind="merge", subresource="status"
            )

    def _status(self, pod):
        number = next(self.addresses)
        address = f"127.9.{number // 250}.{number % 250 + 1}"
        ready = {
            "type": "Ready",
            "status": "True" if self.ready(pod) else "False",
            "lastTransitionTime": meta.format_time(self.plane.seams.clock.wall()),
        }
        others = (pod.get("status") or {}).get("conditions") or []
        conditions = [*(c for c in others if c["type"] != "Ready"), ready]
        return {
            "status": {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": conditions,
            }
        }


def api_server():
    from cluster.apiserver.server import ApiServer
    from raftstore.testing import MemoryStore

    return ApiServer(store=MemoryStore())


@pytest.fixture
def control_plane(tmp_path):
    """Run `test(plane)` against a fresh API server."""

    def run(test, timeout_s=90):
        async def body():
            plane = Plane(tmp_path)
            await plane.start_server()
            try:
                async with asyncio.timeout(timeout_s):
                    await test(plane)
            finally:
                await plane.close()

        asyncio.run(body())

    return run


def make_node(name, cpu="4", memory="8Gi", pods="110", labels=None, ready="True"):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": pods},
            "capacity": {"cpu": cpu, "memory": memory, "pods": pods},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def make_deployment(name="web", replicas=3, image="v1", **spec):
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            **spec,
        },
    }


def make_pod(name, cpu="100m", **spec):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "x"}},
        "spec": {"containers": [container], **spec},
    }


@pytest.fixture
def make():
    """Manifests: make.node(...), make.deployment(...), make.pod(...)."""
    from types import SimpleNamespace

    return SimpleNamespace(node=make_node, deployment=make_deployment, pod=make_pod)
