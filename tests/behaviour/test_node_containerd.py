"""A node whose containers run in a real containerd, seen through the real kubectl."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from containerd import IMAGE, Containerd, needs_containerd
from node_cluster import Cluster, eventually, needs_kubectl
from node_cluster import pod as any_pod

pytestmark = [needs_kubectl, needs_containerd]


def pod(name: str, *command: str, container: Any = None, **spec: Any) -> dict[str, Any]:
    main = {"image": IMAGE} | (container or {})
    return any_pod(name, *command, container=main, **spec)


@pytest.fixture(scope="module")
def cluster(containerd: Containerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    node = {"runtime": "cri", "runtime_endpoint": containerd.endpoint}
    made = Cluster(tmp_path_factory.mktemp("cluster"), node=node)
    yield made
    made.close()


def test_the_node_tells_what_runs_its_containers(cluster: Cluster) -> None:
    eventually(lambda: bool(cluster.get("nodes")["items"]))
    cluster.kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=60s")
    info = cluster.get("node", "node-1")["status"]["nodeInfo"]
    assert info["containerRuntimeVersion"].startswith("containerd://1.")


def test_a_pod_runs_from_its_image_and_says_so(cluster: Cluster) -> None:
    cluster.apply(pod("first", "sh", "-c", "echo out; echo err >&2; cat /etc/passwd; sleep 1000"))
    cluster.wait("first", "condition=Ready", "60s")
    status = cluster.get("pod", "first")["status"]
    container = status["containerStatuses"][0]
    assert container["containerID"].startswith("containerd://")
    assert container["imageID"].startswith("sha256:")
    logs = cluster.kubectl("logs", "first")
    assert "out\n" in logs
    assert "guest:x:1000" in logs
    cluster.kubectl("delete", "pod", "first", "--grace-period=1", "--timeout=60s")


POD_IP = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
WEB = "mkdir /tmp/web; echo -n here >/tmp/web/index.html; exec httpd -f -p $POD_IP:8080 -h /tmp/web"
BRIEF = {"terminationGracePeriodSeconds": 1}


@pytest.fixture(scope="module")
def box(cluster: Cluster) -> str:
    """The name of a pod that serves HTTP."""
    cluster.apply(pod("box", "sh", "-c", WEB, container={"env": POD_IP}, **BRIEF))
    cluster.wait("box", "condition=Ready", "60s")
    return "box"


def run(cluster: Cluster, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    command = cluster.command(*arguments)
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_commands_run_in_it_with_their_streams(cluster: Cluster, box: str) -> None:
    script = "cat; echo err >&2; exit 7"
    code, out, err = run(cluster, "exec", "-i", box, "--", "sh", "-c", script, stdin=b"in" * 50_000)
    assert (code, out) == (7, b"in" * 50_000)
    assert err.startswith(b"err\n")
    code, _, err = run(cluster, "exec", box, "--", "/no/such/program")
    assert code == 1
    assert err.count(b"failed to exec in container") == 1
    overrides = '--overrides={"spec":{"nodeName":"node-1"}}'
    talk = (
        "run",
        "talk",
        "-i",
        "--rm",
        "--restart=Never",
        f"--image={IMAGE}",
        "--quiet",
        overrides,
    )
    said = run(cluster, *talk, "--", "sh", "-c", "read x; echo got $x", stdin=b"hi\n")
    assert said[1].startswith(b"got hi\n"), said


def test_files_are_copied_both_ways(cluster: Cluster, box: str, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(bytes(range(256)) * 5000)
    cluster.kubectl("cp", str(sent), f"{box}:/tmp/file")
    cluster.kubectl("cp", f"{box}:/tmp/file", str(back))
    assert back.read_bytes() == sent.read_bytes()


def test_ports_are_forwarded(cluster: Cluster, box: str) -> None:
    command = cluster.command("port-forward", box, ":8080")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as forward:
        try:
            assert forward.stdout is not None
            found = re.search(rb"127\.0\.0\.1:(\d+)", forward.stdout.readline())
            assert found is not None
            url = f"http://127.0.0.1:{int(found[1])}/"
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.read() == b"here"
        finally:
            forward.kill()


def test_what_it_uses_is_told(cluster: Cluster, box: str) -> None:
    def used() -> int:
        page = cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/metrics/resource")
        lines = [line for line in page.splitlines() if line.startswith("container_memory_working")]
        return sum(int(float(line.split()[1])) for line in lines if f'pod="{box}"' in line)

    eventually(lambda: used() > 0, timeout_s=60)


def test_users_capabilities_and_the_root_file_system_are_as_asked(cluster: Cluster) -> None:
    script = (
        "id -u; id -g; id -G; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; "
        "touch /x 2>&1; cat /data/f; grep -c ' /sys/firmware ' /proc/mounts"
    )
    security = {
        "runAsUser": 1000,
        "runAsGroup": 2000,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "securityContext": security,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    secure = pod(
        "secure",
        "sh",
        "-c",
        script,
        container=container,
        restartPolicy="Never",
        securityContext={"fsGroup": 3000},
        volumes=[{"name": "data", "configMap": {"name": "data"}}],
    )
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "data"}}
    cluster.apply(data | {"data": {"f": "mounted\n"}}, secure)
    cluster.wait("secure", "jsonpath={.status.phase}=Succeeded", "60s")
    lines = cluster.kubectl("logs", "secure").splitlines()
    assert lines[:2] == ["1000", "2000"]
    assert set(lines[2].split()) >= {"2000", "3000"}
    state = dict(line.split(":\t") for line in lines[3:6])
    assert state == {"CapEff": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    assert "Read-only file system" in lines[6]
    assert lines[7] == "mounted"
    assert lines[-1] == "1"  # what a container must not see is hidden
    cluster.kubectl("delete", "pod", "secure", "--timeout=60s")


def test_a_runtime_class_chooses_the_handler(cluster: Cluster) -> None:
    for handler in ("other", "none"):
        kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": handler}
        cluster.apply(kind | {"metadata": {"name": handler}})
    cluster.apply(pod("classy", "sleep", "1000", runtimeClassName="other", **BRIEF))
    cluster.wait("classy", "condition=Ready", "60s")
    cluster.apply(pod("lost", "sleep", "1000", runtimeClassName="none", **BRIEF))
    eventually(
        lambda: 'no runtime for "none" is configured' in cluster.kubectl("describe", "pod", "lost"),
        timeout_s=60,
    )
    cluster.kubectl("delete", "pod", "classy", "lost", "--timeout=60s")


def test_images_that_cannot_be_had_are_told_with_upstreams_reasons(cluster: Cluster) -> None:
    never = {"image": "raykube.test/nothing:1", "imagePullPolicy": "Never"}
    away = {"image": "127.0.0.1:9/nothing:1"}
    cluster.apply(pod("never", "true", container=never), pod("away", "true", container=away))
    listed = lambda: cluster.kubectl("get", "pods")  # noqa: E731
    eventually(lambda: "ErrImageNeverPull" in listed(), timeout_s=60)
    eventually(lambda: "ImagePullBackOff" in listed(), timeout_s=60)
    cluster.kubectl("delete", "pod", "never", "away", "--timeout=60s")


def test_a_container_beyond_its_memory_is_killed_and_says_so(cluster: Cluster) -> None:
    limits = {"resources": {"limits": {"memory": "16Mi"}}}
    cluster.apply(pod("greedy", "tail", "/dev/zero", container=limits, restartPolicy="Never"))
    cluster.wait("greedy", "jsonpath={.status.phase}=Failed", "60s")
    ended = cluster.get("pod", "greedy")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    cluster.kubectl("delete", "pod", "greedy", "--timeout=60s")


def test_pods_go_on_while_containerd_is_away(
    cluster: Cluster, box: str, containerd: Containerd
) -> None:
    before = cluster.get("pod", box)["status"]["containerStatuses"][0]["containerID"]
    containerd.kill()
    try:
        node = ("node/node-1", "--timeout=120s")
        cluster.kubectl("wait", "--for=condition=Ready=false", *node)
        assert "container runtime is down" in cluster.kubectl("describe", "node", "node-1")
    finally:
        containerd.start()
    cluster.kubectl("wait", "--for=condition=Ready", *node)
    assert run(cluster, "exec", box, "--", "true")[0] == 0
    after = cluster.get("pod", box)["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before, 0)
