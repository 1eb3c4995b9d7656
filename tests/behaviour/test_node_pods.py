"""A node (kubelet, proxy, DNS) on a real API server, seen through the real kubectl."""

from __future__ import annotations

import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dnslib
import pytest
from containerd import PAUSE, needs_containerd
from dockerd import needs_dockerd
from node_cluster import (
    DNS_IP,
    SERVICE_IP,
    Cluster,
    eventually,
    needs_kubectl,
    needs_root,
    pod,
)

pytestmark = needs_kubectl

SMALL_WEB = """
mkdir /tmp/web; echo -n $POD_NAME >/tmp/web/index.html; exec httpd -f -p $POD_IP:8080 -h /tmp/web
"""
WEB = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(os.environ["POD_NAME"].encode())
http.server.HTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


MANAGERS = {"cri": "containerd", "docker": "dockerd"}
RUNTIMES = [
    "process",
    pytest.param("cri", marks=needs_containerd),
    pytest.param("docker", marks=needs_dockerd),
]


@pytest.fixture(scope="module", params=RUNTIMES)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """One whose node runs containers itself, one with a real containerd, one with a dockerd."""
    node = {"runtime": request.param, "sandbox_image": PAUSE}
    if request.param in MANAGERS:
        manager = request.getfixturevalue(MANAGERS[request.param])
        node["runtime_endpoint"] = manager.endpoint
    made = Cluster(tmp_path_factory.mktemp("cluster"), node=node)
    yield made
    made.close()


def web(cluster: Cluster) -> tuple[str, ...]:
    """A server that tells the pod's name: the small image has no Python."""
    return ("sh", "-c", SMALL_WEB) if cluster.runtime in MANAGERS else ("python3", "-c", WEB)


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
    brief = {"terminationGracePeriodSeconds": 1}  # who is process 1 does not see SIGTERM
    cluster.apply(pod("live", "sh", "-c", "sleep 1000", container=container, **brief))
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
        brief = {"terminationGracePeriodSeconds": 1}
        cluster.apply(pod(name, *web(cluster), container=container, **brief))
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
    cluster.apply(bad_pod(cluster))
    eventually(lambda: "CreateContainer" in cluster.kubectl("get", "pod", "nothing"))
    why = "run as root" if cluster.runtime in MANAGERS else "give the container a `command`"
    assert why in cluster.kubectl("describe", "pod", "nothing")
    cluster.kubectl("delete", "pod", "job", "nothing", "--timeout=20s")


def bad_pod(cluster: Cluster) -> dict[str, Any]:
    """Without a program where the runtime knows none, or of root where that is refused."""
    nothing = pod("nothing")
    main = nothing["spec"]["containers"][0]
    del main["command"]
    if cluster.runtime in MANAGERS:
        main["securityContext"] = {"runAsNonRoot": True}
    return nothing


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
