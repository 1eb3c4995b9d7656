"""`raykube up` and `down` themselves: side by side, failing, and leaving nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_commands import Cluster, run

from actors.hosts import ray_head


@pytest.fixture
def small(cluster, tmp_path):
    """A second cluster's commands, in the same home; it is not up yet."""
    second = Cluster("second", cluster.home, str(tmp_path / "config"))
    yield second
    second.raykube("down", check=False)


def processes_naming(text: str) -> list[str]:
    """Command lines and environments of live processes that name a folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            content = Path(f"/proc/{pid}/cmdline").read_bytes()
            content += Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if text.encode() in content and int(pid) != os.getpid():
            found.append(f"{pid}: {content[:100]!r}")
    return found


def kept_logs(failed: subprocess.CompletedProcess[str]) -> Path:
    """Where a start that failed says that it left its logs."""
    return Path(failed.stderr.partition("the logs are in ")[2].split()[0])


def up(cluster: Cluster, *options: str, check: bool = True):
    shape = ("--members", "1", "--nodes", "1", "--kubeconfig", cluster.kubeconfig)
    return cluster.raykube("up", *shape, *options, check=check)


def test_a_second_cluster_runs_beside_the_first_and_leaves_nothing(cluster, small):
    up(small)
    assert len(small.get("nodes")["items"]) == 1
    assert len(cluster.get("nodes")["items"]) == 3
    command = ("create", "deployment", "idle", "--image=host", "--", "sleep", "4242")
    small.kubectl(*command)
    small.kubectl("rollout", "status", "deployment/idle", "--timeout=60s")
    temp_folder = ray_head.load(str(small.folder)).temp_folder
    small.raykube("down")
    assert not small.folder.exists()
    assert not os.path.exists(temp_folder)
    assert not os.path.exists(small.kubeconfig)
    assert processes_naming(str(small.folder)) == []
    assert str(small.folder) not in Path("/proc/self/mounts").read_text()


def test_a_cluster_starts_from_a_backup_of_another(cluster, small, tmp_path):
    backup = str(tmp_path / "backup.db")
    cluster.kubectl("create", "configmap", "kept", "--from-literal=key=value")
    made = cluster.get("configmap", "kept")
    assert "verified" in cluster.raykube("store", "snapshot", backup).stdout
    cluster.kubectl("delete", "configmap", "kept")
    up(small, "--restore", backup)
    assert small.get("configmap", "kept") == made
    small.kubectl("label", "configmap", "kept", "changed=yes")
    (tmp_path / "cut.db").write_bytes(Path(backup).read_bytes()[:-1])
    third = Cluster("third", cluster.home, str(tmp_path / "config3"))
    refused = up(third, "--restore", str(tmp_path / "cut.db"), check=False)
    assert refused.returncode == 1
    assert "no backup that can be used" in refused.stderr
    assert not third.folder.exists()
    shutil.rmtree(kept_logs(refused))


def test_the_same_name_twice_is_refused_and_harms_nothing(cluster):
    again = cluster.raykube("up", "--kubeconfig", cluster.kubeconfig, check=False)
    assert again.returncode == 4
    assert "exists already" in again.stderr
    assert cluster.get("nodes")["items"]


def test_a_start_that_takes_too_long_is_undone(small):
    failed = up(small, "--wait", "0.01s", check=False)
    assert failed.returncode == 5
    assert "not ready after" in failed.stderr
    assert "--retain" in failed.stderr
    logs = kept_logs(failed)
    assert (logs / "supervisor.log").exists()
    shutil.rmtree(logs)
    assert not small.folder.exists()
    assert processes_naming(str(small.folder)) == []


def test_a_cluster_can_live_on_a_ray_cluster_that_is_there(small, tmp_path, monkeypatch):
    """Somebody's Ray: it must be as it was when the cluster is down again."""
    monkeypatch.setenv("RAYKUBE_RAY", "full")
    folder = tmp_path / "ray"
    (folder / "logs").mkdir(parents=True)
    head = ray_head.start(str(folder), "127.126.0.1:6426")
    environment = ray_head.client_environment(str(folder))
    small.environment = {key: environment[key] for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
    try:
        before = set(ray_head.processes(head))
        up(small, "--ray-address", head.address)
        assert small.get("nodes")["items"][0]["metadata"]["name"] == "node-0"
        small.raykube("down")
        names = (
            "import ray, json, sys; ray.init(address=sys.argv[1], log_to_driver=False, "
            "_node_ip_address='127.126.0.1');"
            "print(json.dumps(ray.util.list_named_actors(all_namespaces=True)))"
        )
        listed = subprocess.run(
            [sys.executable, "-c", names, head.address],
            env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert json.loads(listed.stdout.splitlines()[-1]) == []
        assert before <= set(ray_head.processes(head))
    finally:
        ray_head.end(head)


def test_status_kubeconfig_and_logs_answer_without_ray(cluster):
    assert "api-server-0" in cluster.raykube("status").stdout
    assert cluster.raykube("kubeconfig").stdout == Path(cluster.kubeconfig).read_text()
    assert "starts as process" in cluster.raykube("logs", "store-0").stdout
    unknown = cluster.raykube("logs", "nothing", check=False)
    assert unknown.returncode == 1
    assert "there are: api-server-0" in unknown.stderr


@pytest.mark.skipif(not shutil.which("etcdctl"), reason="needs etcdctl (Debian's etcd-client)")
def test_etcdctl_reads_the_store_of_a_cluster_that_was_asked_to_speak_etcd(cluster):
    lines = (cluster.folder / "etcd.env").read_text().splitlines()
    words = " ".join(line.removeprefix("export ") for line in lines).split()
    environment = {**os.environ, **dict(word.split("=", 1) for word in words)}

    def etcdctl(*arguments: str) -> str:
        return run(["etcdctl", *arguments], environment, check=True, timeout_s=60).stdout

    cluster.kubectl("create", "configmap", "seen-by-etcd")
    key = "/registry/configmaps/default/seen-by-etcd"
    assert etcdctl("get", key, "--keys-only").strip() == key
    assert len(etcdctl("member", "list").splitlines()) == 3
    cluster.kubectl("delete", "configmap", "seen-by-etcd")
    assert etcdctl("get", key) == ""
