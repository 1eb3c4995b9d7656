"""A cluster for tests: an API server without controllers and one node, and the real kubectl."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.seams import system_seams
from cluster.apiserver.server import ApiServer
from cluster.dns.server import DnsServer
from cluster.kubelet.kubelet import Kubelet
from cluster.kubelet.runtimes.reap import reap
from cluster.pki import Authority
from cluster.proxy.server import Proxy
from raftstore.testing import MemoryStore

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="volumes at their paths need root")

NODE_IP, DNS_IP, SERVICE_IP = "127.88.1.1", "127.89.0.10", "127.89.0.77"


class Cluster:
    """An API server without controllers and one node, on a loop in a thread."""

    def __init__(
        self,
        folder: Path,
        loop: asyncio.AbstractEventLoop | None = None,
        node: Mapping[str, Any] | None = None,
        **api_config: Any,
    ) -> None:
        """`node`: more of the kubelet's config, its runtime for instance."""
        self.folder, self._api_config, self._node_config = folder, api_config, node or {}
        self.runtime = str(self._node_config.get("runtime", "process"))
        self._authority = Authority.create("test-ca")
        self._loop = loop or asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._started: list[Any] = []
        self.data_dir = str(folder / "node")
        self._call(self._start())
        self.kubeconfig = self._write_kubeconfig()
        metadata = {"name": "default", "namespace": "default"}  # no controller makes it here
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        account["automountServiceAccountToken"] = False
        self.kubectl("create", "-f", "-", stdin=json.dumps(account))

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _files(self, user: str, groups: tuple[str, ...] = (), **more: Any) -> dict[str, str]:
        pair = self._authority.issue(user, groups, **more)
        base = self.folder / user.replace(":", "-")
        parts = {"ca": self._authority.pair.certificate, "cert": pair.certificate, "key": pair.key}
        for part, data in parts.items():
            base.with_suffix(f".{part}").write_bytes(data)
        return {part: str(base.with_suffix(f".{part}")) for part in parts}

    async def _start(self) -> None:
        api = self.api = ApiServer(MemoryStore())
        await self._run(
            api,
            name="api-0",
            address="127.0.0.1:0",
            advertise_address="127.0.0.1",
            store=[],
            tls=self._files("kube-apiserver", names=["127.0.0.1"]),
            kubelet_tls=self._files("kubelet-client", ("system:masters",)),
            service_cidr="127.89.0.0/16",
            **self._api_config,
        )
        while not (await api.health()).ready:
            await asyncio.sleep(0.01)
        self.server = f"https://{api.address}"
        await self.start_kubelet()
        proxy = self._client("system:kube-proxy")
        await self._run(Proxy(), node_name="node-1", client=proxy, mode="userspace")
        dns = self._client("system:dns")
        self.dns = DnsServer()
        address = f"{DNS_IP}:0"
        await self._run(self.dns, address=address, domain="cluster.local", client=dns, upstreams=[])

    async def start_kubelet(self) -> None:
        self.kubelet = Kubelet()
        await self._run(
            self.kubelet,
            node_name="node-1",
            node_ip=NODE_IP,
            client=self._client("system:node:node-1", ("system:nodes",)),
            data_dir=self.data_dir,
            pod_cidr="127.88.1.0/24",
            cluster_dns=DNS_IP,
            cluster_domain="cluster.local",
            tls=self._files("node-server", names=[NODE_IP]),
            port=0,
            backoff_initial_s=0.5,
            **self._node_config,
        )

    async def _run(self, component: Any, **config: Any) -> None:
        await component.start(system_seams(), config)
        self._started.append(component)

    def _client(self, user: str, groups: tuple[str, ...] = ("system:masters",)) -> dict[str, Any]:
        return {"servers": [self.server], **self._files(user, groups)}

    def restart_kubelet(self) -> None:
        self._started.remove(self.kubelet)
        self._call(self.kubelet.stop())
        self._call(self.start_kubelet())

    def close(self) -> None:
        for component in reversed(self._started):
            self._call(component.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        reap(self.data_dir)

    def _write_kubeconfig(self) -> str:
        admin = self._files("admin", ("system:masters",))
        cluster = {"server": self.server, "certificate-authority": admin["ca"]}
        user = {"client-certificate": admin["cert"], "client-key": admin["key"]}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "t",
            "clusters": [{"name": "t", "cluster": cluster}],
            "users": [{"name": "t", "user": user}],
            "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
        }
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return str(path)

    def command(self, *arguments: str) -> list[str]:
        assert KUBECTL is not None
        cache = f"--cache-dir={self.folder / 'cache'}"
        return [KUBECTL, f"--kubeconfig={self.kubeconfig}", cache, *arguments]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        result = subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=150
        )
        assert result.returncode == 0, f"{arguments}: {result.stdout}\n{result.stderr}"
        return result.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def wait(self, pod: str, what: str, timeout: str = "20s") -> None:
        self.kubectl("wait", f"--for={what}", f"pod/{pod}", f"--timeout={timeout}")


def pod(name: str, *command: str, container: Any = None, **spec: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "any", "imagePullPolicy": "IfNotPresent"}
    main |= {"command": list(command)} | (container or {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeName": "node-1", "containers": [main]} | spec,
    }


def eventually(check: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)
