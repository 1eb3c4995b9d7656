"""A node (kubelet, proxy, DNS) on a real API server, seen through the real kubectl."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dnslib
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
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="volumes at their paths need root")

NODE_IP, DNS_IP, SERVICE_IP = "127.88.1.1", "127.89.0.10", "127.89.0.77"

WEB = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(os.environ["POD_NAME"].encode())
http.server.HTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


class Cluster:
    """An API server without controllers and one node, on a loop in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = Authority.create("test-ca")
        self._loop = asyncio.new_event_loop()
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
        api = ApiServer(MemoryStore())
        await self._run(
            api,
            name="api-0",
            address="127.0.0.1:0",
            advertise_address="127.0.0.1",
            store=[],
            tls=self._files("kube-apiserver", names=["127.0.0.1"]),
            kubelet_tls=self._files("kubelet-client", ("system:masters",)),
            service_cidr="127.89.0.0/16",
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
            self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, f"{arguments}: {result.stdout}\n{result.stderr}"
        return result.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def wait(self, pod: str, what: str, timeout: str = "20s") -> None:
        self.kubectl("wait", f"--for={what}", f"pod/{pod}", f"--timeout={timeout}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


def pod(name: str, *command: str, container: Any = None, **spec: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "any", "command": list(command)} | (container or {})
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


def test_the_node_is_ready(cluster: Cluster) -> None:
    eventually(lambda: bool(cluster.get("nodes")["items"]))
    cluster.kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=20s")
    lease = cluster.get("lease", "node-1", "-n", "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == "node-1"


@needs_root
def test_a_pod_runs_with_environment_and_volumes_and_its_logs_are_followed(
    cluster: Cluster,
) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    script = "echo $MODE; cat /etc/conf/k; until grep -q new /etc/conf/k; do sleep 0.1; done; "
    container = {
        "env": [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "mode"}}}],
        "volumeMounts": [{"name": "v", "mountPath": "/etc/conf"}],
    }
    volumes = [{"name": "v", "configMap": {"name": "c"}}]
    cluster.apply(
        config | {"data": {"mode": "fast", "k": "old\n"}},
        pod("reader", "sh", "-c", script + "echo updated", container=container, volumes=volumes)
        | {},
    )
    cluster.wait("reader", "condition=Ready")
    follow = subprocess.Popen(cluster.command("logs", "-f", "reader"), stdout=subprocess.PIPE)
    assert follow.stdout is not None
    assert [follow.stdout.readline() for _ in range(2)] == [b"fast\n", b"old\n"]
    cluster.apply(config | {"data": {"mode": "fast", "k": "new\n"}})
    assert follow.stdout.readline() == b"updated\n"
    follow.stdout.close()
    assert follow.wait(20) == 0
    cluster.kubectl("delete", "pod", "reader", "--timeout=20s")


def test_readiness_gates_traffic_and_a_failing_liveness_probe_restarts(cluster: Cluster) -> None:
    container = {
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
        "livenessProbe": {
            "httpGet": {"port": 8080},
            "periodSeconds": 1,
            "failureThreshold": 1,
            "initialDelaySeconds": 3,
        },
    }
    cluster.apply(pod("live", "sh", "-c", "sleep 1000", container=container))
    eventually(
        lambda: cluster.get("pod", "live")["status"]["containerStatuses"][0]["restartCount"] >= 1,
        timeout_s=60,
    )
    status = cluster.get("pod", "live")["status"]
    ready = {c["type"]: c["status"] for c in status["conditions"]}["Ready"]
    assert ready == "False"
    events = cluster.kubectl("get", "events")
    assert "Unhealthy" in events
    cluster.kubectl("delete", "pod", "live", "--grace-period=1", "--timeout=20s")


def test_a_service_balances_over_ready_pods_and_has_a_name(cluster: Cluster) -> None:
    field = {"POD_IP": "status.podIP", "POD_NAME": "metadata.name"}
    env = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in field.items()
    ]
    container = {"env": env, "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}}
    names = ["web-a", "web-b"]
    for name in names:
        cluster.apply(pod(name, "python3", "-c", WEB, container=container))
    for name in names:
        cluster.wait(name, "condition=Ready", "30s")
    port = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}
    endpoints = [
        {
            "addresses": [cluster.get("pod", name)["status"]["podIP"]],
            "conditions": {"ready": True},
        }
        for name in names
    ]
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"clusterIP": SERVICE_IP, "ports": [port]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        },
    )
    eventually(lambda: answers(f"http://{SERVICE_IP}/") is not None)
    assert {answers(f"http://{SERVICE_IP}/") for _ in range(4)} == set(names)
    dns_port = int(str(cluster.dns.address).rpartition(":")[2])
    question = dnslib.DNSRecord.question("web.default.svc.cluster.local")
    reply = dnslib.DNSRecord.parse(question.send(DNS_IP, dns_port, timeout=5))
    assert [str(record.rdata) for record in reply.rr] == [SERVICE_IP]
    cluster.kubectl("delete", "pod", *names, "--timeout=20s")


def answers(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())
    except OSError:
        return None


def test_pods_go_on_while_the_kubelet_restarts_and_end_gracefully(cluster: Cluster) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    cluster.apply(pod("steady", "sh", "-c", script))
    cluster.wait("steady", "condition=Ready")
    before = cluster.get("pod", "steady")["status"]["containerStatuses"][0]
    cluster.restart_kubelet()
    eventually(lambda: "up" in cluster.kubectl("logs", "steady"))
    after = cluster.get("pod", "steady")["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    follow = subprocess.Popen(cluster.command("logs", "-f", "steady"), stdout=subprocess.PIPE)
    assert follow.stdout is not None
    assert follow.stdout.readline() == b"up\n"
    cluster.kubectl("delete", "pod", "steady", "--timeout=20s")
    assert follow.stdout.read() == b"bye\n"
    follow.stdout.close()
    follow.wait(20)
    assert not list((Path(cluster.data_dir) / "pods").iterdir())


def test_a_restarted_kubelet_removes_what_a_dead_one_left_of_a_deleted_pod(
    cluster: Cluster,
) -> None:
    left = Path(cluster.data_dir) / "pods" / "11111111-2222-3333-4444-555555555555"
    (left / "volumes" / "scratch").mkdir(parents=True)
    cluster.restart_kubelet()
    eventually(lambda: not left.exists())


def test_a_job_like_pod_ends_and_a_bad_one_says_why(cluster: Cluster) -> None:
    cluster.apply(pod("job", "sh", "-c", "echo done; exit 3", restartPolicy="Never"))
    cluster.wait("job", "jsonpath={.status.phase}=Failed")
    assert cluster.kubectl("logs", "job") == "done\n"
    nothing = pod("nothing")
    del nothing["spec"]["containers"][0]["command"]
    cluster.apply(nothing)
    eventually(lambda: "CreateContainerError" in cluster.kubectl("get", "pod", "nothing"))
    assert "give the container a `command`" in cluster.kubectl("describe", "pod", "nothing")
    cluster.kubectl("delete", "pod", "job", "nothing", "--timeout=20s")


def test_a_kubelet_asks_whether_a_user_may_read_from_it(cluster: Cluster) -> None:
    def status_for(user: str, groups: tuple[str, ...] = ()) -> int:
        files = cluster._files(user, groups)
        context = ssl.create_default_context(cafile=files["ca"])
        context.load_cert_chain(files["cert"], files["key"])
        url = f"https://{cluster.kubelet.address}/pods"
        try:
            with urllib.request.urlopen(url, context=context, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert status_for("kubelet-client", ("system:masters",)) == 200
    assert status_for("jane") == 403
    role = ("create", "clusterrole", "node-pods", "--verb=get", "--resource=nodes/pods")
    cluster.kubectl(*role)
    cluster.kubectl(
        "create", "clusterrolebinding", "bert", "--clusterrole=node-pods", "--user=bert"
    )
    assert status_for("bert") == 200
