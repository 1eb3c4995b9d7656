"""What a person does with kubectl, against a whole cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "guestbook" / "guestbook.yaml"

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: host
        command: [python3, -u, -c]
        args:
        - |
          import http.server, os
          class Handler(http.server.BaseHTTPRequestHandler):
              def do_GET(self):
                  body = f"{os.environ['POD_NAME']} {os.environ.get('COLOUR', 'plain')}".encode()
                  self.send_response(200)
                  self.send_header("Content-Length", str(len(body)))
                  self.end_headers()
                  self.wfile.write(body)
              def log_message(self, form, *args):
                  print("served", self.path, flush=True)
          print("listening", flush=True)
          address = (os.environ["POD_IP"], 8080)
          http.server.ThreadingHTTPServer(address, Handler).serve_forever()
        env:
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 8080, targetPort: http}]
"""


@pytest.fixture(scope="module")
def web(cluster):
    """A namespace with a Deployment of three and its Service, rolled out."""
    cluster.kubectl("create", "namespace", "web")
    cluster.kubectl("apply", "-n", "web", "-f", "-", stdin=WEB)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", "web", "--timeout=90s")
    yield "web"
    cluster.kubectl("delete", "namespace", "web", "--timeout=60s")


def url_of(cluster, namespace: str, service: str) -> str:
    spec = cluster.get("service", service, "-n", namespace)["spec"]
    return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}/"


def test_every_node_is_ready_and_every_component_says_so(cluster):
    lines = cluster.out("get", "nodes", "--no-headers").splitlines()
    assert [line.split()[:2] for line in lines] == [[f"node-{n}", "Ready"] for n in range(3)]
    picture = cluster.components()
    kinds = [entry["kind"] for entry in picture.values() if entry["ready"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "store": 3, "api-server": 1, "scheduler": 2, "controller-manager": 2, "node": 3,
        "supervisor": 1, "fleet": 1,
    }  # fmt: skip


def test_the_sample_serves_its_page_through_the_service(cluster, namespace, harness):
    cluster.kubectl("apply", "-n", namespace, "-f", str(EXAMPLE))
    for deployment in ("guestbook-backend", "guestbook"):
        cluster.kubectl("rollout", "status", f"deployment/{deployment}", "-n", namespace,
                        "--timeout=90s")  # fmt: skip
    url = url_of(cluster, namespace, "guestbook")
    page = harness.eventually(lambda: harness.fetch(url), "the page is served", 20)
    assert "<h1>Guestbook on raykube</h1>" in page
    assert "<li>hello</li>" in harness.fetch(url, b"entry=hello")
    cluster.kubectl("delete", "-n", namespace, "-f", str(EXAMPLE), "--timeout=60s")


def test_a_service_address_balances_over_all_ready_pods(cluster, web, harness):
    url = url_of(cluster, web, "web")
    pods = {entry["metadata"]["name"] for entry in cluster.get("pods", "-n", web)["items"]}
    answered = {harness.fetch(url).split()[0] for _ in range(40)}
    assert answered == pods


def test_commands_files_and_ports_reach_pods_on_every_node(cluster, web, tmp_path):
    for entry in cluster.get("pods", "-n", web)["items"]:
        name = entry["metadata"]["name"]
        command = ("exec", "-i", name, "-n", web, "--", "sh", "-c", "cat; echo $POD_NAME; exit 3")
        done = cluster.kubectl(*command, stdin="hello ", check=False)
        assert (done.stdout, done.returncode) == (f"hello {name}\n", 3)
    (tmp_path / "sent").write_bytes(bytes(range(256)) * 4096)
    cluster.kubectl("cp", "-n", web, str(tmp_path / "sent"), f"{name}:/tmp/{name}")
    cluster.kubectl("cp", "-n", web, f"{name}:/tmp/{name}", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()
    path = f"/api/v1/namespaces/{web}/services/web/proxy/"
    assert cluster.out("get", "--raw", path).split()[1] == "plain"


def test_get_wide_shows_addresses_and_nodes(cluster, web):
    header, *rows = cluster.out("get", "pods", "-n", web, "-o", "wide").splitlines()
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert all(row.split()[1:3] == ["1/1", "Running"] for row in rows)
    assert len({row.split()[6] for row in rows}) == 3, "three pods on three nodes"
    deployment = cluster.out("get", "deployment", "web", "-n", web, "-o", "wide").splitlines()
    assert deployment[0].split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert deployment[1].split()[:4] == ["web", "3/3", "3", "3"]


def test_describe_tells_the_story_of_a_pod(cluster, web):
    pod = cluster.out("get", "pods", "-n", web, "-o", "name").split()[0]
    text = cluster.out("describe", pod, "-n", web)
    for expected in ("Status:           Running", "Controlled By:  ReplicaSet/web-", "Scheduled",
                     "Successfully assigned web/", "Started", "Ready:          True"):  # fmt: skip
        assert expected in text
    assert "Replicas:" in cluster.out("describe", "deployment", "web", "-n", web)
    assert "Capacity:" in cluster.out("describe", "node", "node-0")


def test_watching_sees_a_scale_up_as_it_happens(cluster, web, harness):
    command = ["kubectl", "--kubeconfig", cluster.kubeconfig, "get", "deployment", "web",
               "-n", web, "-w", "--no-headers"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        try:
            first = watch.stdout.readline().split()
            assert first[1] == "3/3"
            cluster.kubectl("scale", "deployment/web", "-n", web, "--replicas=4")
            while watch.stdout.readline().split()[1] != "4/4":
                pass
        finally:
            watch.kill()
    cluster.kubectl("scale", "deployment/web", "-n", web, "--replicas=3")
    harness.eventually(
        lambda: len(cluster.get("pods", "-n", web)["items"]) == 3, "back to three pods"
    )


def test_a_rollout_can_be_watched_listed_and_undone(cluster, web, harness):
    url = url_of(cluster, web, "web")
    cluster.kubectl("set", "env", "deployment/web", "-n", web, "COLOUR=blue")
    cluster.kubectl("rollout", "status", "deployment/web", "-n", web, "--timeout=90s")
    harness.eventually(lambda: harness.fetch(url).endswith(" blue"), "the new version answers")
    history = cluster.out("rollout", "history", "deployment/web", "-n", web)
    revisions = [line.split()[0] for line in history.splitlines() if line[:1].isdigit()]
    assert len(revisions) >= 2
    cluster.kubectl("rollout", "undo", "deployment/web", "-n", web)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", web, "--timeout=90s")
    harness.eventually(lambda: harness.fetch(url).endswith(" plain"), "the old version answers")


def test_set_image_rolls_out(cluster, web):
    cluster.kubectl("set", "image", "deployment/web", "-n", web, "web=host:2")
    cluster.kubectl("rollout", "status", "deployment/web", "-n", web, "--timeout=90s")
    pods = cluster.get("pods", "-n", web, "-l", "app=web", "--field-selector=status.phase=Running")
    images = {pod["spec"]["containers"][0]["image"] for pod in pods["items"]
              if "deletionTimestamp" not in pod["metadata"]}  # fmt: skip
    assert images == {"host:2"}


def test_logs_can_be_followed(cluster, web, harness):
    pod = cluster.get("pods", "-n", web)["items"][0]
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    assert "listening" in cluster.out("logs", name, "-n", web)
    command = ["kubectl", "--kubeconfig", cluster.kubeconfig, "logs", "-f", name, "-n", web]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follow:
        try:
            harness.fetch(f"http://{address}:8080/from-the-test")
            while "served /from-the-test" not in follow.stdout.readline():
                pass
        finally:
            follow.kill()


def test_imperative_commands_make_what_they_say(cluster, namespace):
    def k(*arguments):
        return cluster.out("-n", namespace, *arguments)

    assert "configmap/settings created" in k(
        "create", "configmap", "settings", "--from-literal=a=1"
    )
    assert "secret/token created" in k("create", "secret", "generic", "token", "--from-literal=t=x")
    command = ("create", "deployment", "idle", "--image=host", "--", "sleep", "1000")
    assert "deployment.apps/idle created" in k(*command)
    assert k("get", "configmap", "settings", "-o", "jsonpath={.data.a}") == "1"
    assert k("get", "secret", "token", "-o", "jsonpath={.data.t}") == "eA=="
    k("rollout", "status", "deployment/idle", "--timeout=60s")
    assert "labeled" in k("label", "configmap", "settings", "tier=test")
    assert "settings" in k("get", "configmaps", "-l", "tier=test", "-o", "name")
    events = k("get", "events")
    assert "Scheduled" in events
    assert 'deployment.apps "idle" deleted' in k("delete", "deployment", "idle")


def test_dry_run_on_the_server_writes_nothing(cluster, namespace):
    command = ("create", "configmap", "ghost", "--from-literal=a=1", "--dry-run=server")
    assert "created (server dry run)" in cluster.out(*command, "-n", namespace)
    assert (
        cluster.kubectl("get", "configmap", "ghost", "-n", namespace, check=False).returncode == 1
    )


def test_an_invalid_object_is_refused_with_the_field_named(cluster, namespace):
    ports = [{"containerPort": 0}]
    bad = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "Bad_Name"},
           "spec": {"containers": [{"name": "c", "image": "x", "ports": ports}]}}  # fmt: skip
    result = cluster.kubectl(
        "create", "-n", namespace, "-f", "-", stdin=json.dumps(bad), check=False
    )
    assert result.returncode == 1
    assert "metadata.name" in result.stderr
    assert "spec.containers[0].ports[0].containerPort" in result.stderr
    assert cluster.get("pods", "-n", namespace)["items"] == []


def test_unknown_paths_and_broken_bodies_have_their_own_answers(cluster, namespace):
    missing = cluster.kubectl("get", "--raw", "/apis/nowhere/v1/things", check=False)
    assert "NotFound" in missing.stderr
    broken = cluster.kubectl(
        "create", "--raw", f"/api/v1/namespaces/{namespace}/configmaps", "-f", "-",
        stdin='{"kind": "ConfigMap",', check=False,
    )  # fmt: skip
    assert broken.returncode == 1
    assert "BadRequest" in broken.stderr or "bad request" in broken.stderr.lower()
    names = cluster.out("get", "configmaps", "-n", namespace, "-o", "name").split()
    assert names in ([], ["configmap/kube-root-ca.crt"])


def test_deleting_a_namespace_removes_what_is_in_it(cluster, harness):
    cluster.kubectl("create", "namespace", "doomed")
    cluster.kubectl("create", "configmap", "a", "-n", "doomed")
    cluster.kubectl(
        "create", "deployment", "d", "--image=host", "-n", "doomed", "--", "sleep", "99"
    )
    cluster.kubectl("rollout", "status", "deployment/d", "-n", "doomed", "--timeout=60s")
    begun = time.monotonic()
    cluster.kubectl("delete", "namespace", "doomed", "--timeout=80s")
    print(f"namespace gone after {time.monotonic() - begun:.1f} s")
    assert cluster.out("get", "pods", "-A", "-o", "name").count("/d-") == 0


def test_a_pod_reaches_the_api_as_its_service_account(cluster):
    """By the official client's in-cluster config, unmodified."""
    program = (
        "from kubernetes import client, config; config.load_incluster_config();"
        "me = client.AuthenticationV1Api().create_self_subject_review({});"
        "pods = client.CoreV1Api().list_namespaced_pod('inside').items;"
        "print(me.status.user_info.username, [pod.metadata.name for pod in pods])"
    )
    container = {"name": "c", "image": "x", "command": [sys.executable, "-c", program]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "asks"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    cluster.kubectl("create", "namespace", "inside")
    cluster.kubectl(
        "-n", "inside", "create", "rolebinding", "view", "--clusterrole=view",
        "--serviceaccount=inside:default",
    )  # fmt: skip
    cluster.kubectl("-n", "inside", "create", "-f", "-", stdin=json.dumps(pod))
    done = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("-n", "inside", "wait", done, "pod/asks", "--timeout=60s")
    said = cluster.out("-n", "inside", "logs", "asks")
    assert said.strip() == "system:serviceaccount:inside:default ['asks']"
    cluster.kubectl("delete", "namespace", "inside", "--wait=false")
