"""Backups go from a real etcd into our store and back: nothing is lost on the way.

`etcdctl` fills and reads both, so that what it shows of one must be what it shows of the other.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location(
    "etcd_clusters", pathlib.Path(__file__).with_name("etcd_clusters.py")
)
assert _spec is not None
assert _spec.loader is not None
clusters = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(clusters)

pytestmark = pytest.mark.skipif(
    not (shutil.which("etcd") and shutil.which("etcdctl")),
    reason="needs etcd and etcdctl (Debian's etcd-server and etcd-client)",
)
Ctl = Any
Path = pathlib.Path
RAYKUBE = [sys.executable, "-c", "from cluster.cli.main import main; main()"]


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, str]:
    certificates: dict[str, str] = clusters.make_certificates(tmp_path)
    return certificates


@contextmanager
def running(cluster: Any, tls: dict[str, str], *user: str) -> Iterator[Ctl]:
    ctl = clusters.Etcdctl(cluster.endpoints, tls, user)
    try:
        ctl.wait_ready()
        yield ctl
    finally:
        cluster.stop()


def fill(ctl: Ctl) -> None:
    """Something of everything that a backup keeps, authentication last."""
    lease = ctl("lease", "grant", "1000").out.split()[1]
    for line in [
        "put a 1", "put a 2", "put b 1", "del b", "put b 2", f"put c x --lease={lease}", "put a 3",
        "del c", f"put d/1 y --lease={lease}", "put gone 1", "put e 0", "del gone", "compaction 9",
        "put big " + "x" * 20_000, "put e 1", "put e 2", "del e",
        "user add root:pw", "user add ann:secret", "user add bob --no-password", "role add r",
        "role grant-permission r readwrite a c", "role grant-permission r read --prefix d/",
        "role grant-permission r write --from-key y", "user grant-role ann r",
        "user grant-role root root", "auth enable",
    ]:  # fmt: skip
        assert ctl(*line.split(" ")).code == 0, line


def picture(ctl: Ctl) -> dict[str, Any]:
    """All that can be seen of the state, without what names members."""

    def revision_of_now() -> int:
        found: int = json.loads(ctl("get", "none", "-w", "json").out)["header"]["revision"]
        return found

    now = revision_of_now()
    versions = {}
    for revision in range(max(1, now - 12), now + 1):
        shown = ctl("get", "", "--from-key", f"--rev={revision}", "-w", "json")
        versions[revision] = json.loads(shown.out)["kvs"] if shown.out else shown.error
    leases = ctl("lease", "list").out
    found = [line for line in leases.splitlines() if re.fullmatch("[0-9a-f]{16}", line)]
    shown = [ctl("lease", "timetolive", lease, "--keys").out for lease in found]
    return {
        "revision": now,
        "versions": versions,
        "leases": [re.sub(r"remaining\(\d+s\)", "remaining", line) for line in shown],
        "users": [ctl("user", "get", user, "--detail").out for user in ("root", "ann", "bob")],
        "role": ctl("role", "get", "r").out,
        "as ann": [
            (ctl(*command, "--user=ann:secret").code)
            for command in (("get", "a"), ("get", "e"), ("get", "d/1"))
        ],
        "wrong password": ctl("get", "a", "--user=ann:wrong").error,
    }


def read_backup(path: Path) -> dict[str, int]:
    done = subprocess.run(
        ["etcdctl", "snapshot", "status", path, "-w", "json"],
        capture_output=True,
        check=True,
        env={"ETCDCTL_API": "3"},
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


def own_from(folder: Path, tls: dict[str, str], backup: Path, *options: str) -> Any:
    """Our cluster, each of its members restored from the backup by the command."""
    folder.mkdir()
    cluster = clusters.OwnCluster(folder, tls, start=False)
    members = [f"--member={name}={address}" for name, address in cluster.processes.peers.items()]
    command = [*RAYKUBE, "store", "restore", str(backup), "--to", str(folder), *members, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cluster.processes.start()
    return cluster


def etcd_from(folder: Path, tls: dict[str, str], backup: Path) -> Any:
    """A real etcd, each of its members restored from the backup by etcdctl."""
    folder.mkdir()
    return clusters.EtcdCluster(folder, tls, backup)


def test_a_backup_of_etcd_lives_on_here_and_in_etcd_again(
    tmp_path: Path, tls: dict[str, str]
) -> None:
    user = ("--user=root:pw",)
    (tmp_path / "first").mkdir()
    with running(clusters.EtcdCluster(tmp_path / "first", tls), tls) as etcd:
        fill(etcd)
        etcd.options = user
        expected = picture(etcd)
        assert etcd("snapshot", "save", str(tmp_path / "1.db"), endpoints=1).code == 0
    with running(own_from(tmp_path / "second", tls, tmp_path / "1.db"), tls, *user) as ours:
        assert picture(ours) == expected
        assert ours("snapshot", "save", str(tmp_path / "2.db"), endpoints=1).code == 0
    first, second = read_backup(tmp_path / "1.db"), read_backup(tmp_path / "2.db")
    assert second["revision"] == first["revision"]
    assert second["totalSize"] == (tmp_path / "2.db").stat().st_size - 32
    with running(etcd_from(tmp_path / "third", tls, tmp_path / "2.db"), tls, *user) as again:
        assert picture(again) == expected
        written = again("put", "more", "1", "-w", "json").out
        assert json.loads(written)["header"]["revision"] == expected["revision"] + 1


def test_a_backup_of_ours_holds_what_was_written_and_restored_members_go_on(
    tmp_path: Path, tls: dict[str, str]
) -> None:
    (tmp_path / "first").mkdir()
    with running(clusters.OwnCluster(tmp_path / "first", tls), tls) as ours:
        for number in range(30):
            assert ours("put", f"k{number:02}", "x" * number * 1000).code == 0
        assert ours("snapshot", "save", str(tmp_path / "1.db"), endpoints=1).code == 0
        expected = json.loads(ours("get", "k", "--prefix", "-w", "json").out)["kvs"]
    bump = own_from(tmp_path / "second", tls, tmp_path / "1.db", "--bump-revision=1000")
    with running(bump, tls) as restored:
        shown = json.loads(restored("get", "k", "--prefix", "-w", "json").out)
        assert shown["kvs"] == expected
        assert shown["header"]["revision"] == 1031
        assert "required revision has been compacted" in restored("watch", "k", "--rev=40").err
        bump.processes.kill("m0")
        assert restored("put", "after", "1").code == 0
        bump.processes.start("m0")
        restored.wait_ready()
        hashes = restored("endpoint", "hashkv", "-w", "json").out
        assert len({found["HashKV"]["hash"] for found in json.loads(hashes)}) == 1
