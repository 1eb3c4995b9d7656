"""Members are added, promoted, moved and removed by the real etcdctl, here as in a real etcd.

One story, told by both: a learner that is a real new process joins three members, is promoted, the
leader is removed, a dead member too, until one is left and a voter is added that never starts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location(
    "etcd_clusters_of_members", pathlib.Path(__file__).with_name("etcd_clusters.py")
)
assert _spec is not None
assert _spec.loader is not None
clusters = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(clusters)

pytestmark = pytest.mark.skipif(
    not (shutil.which("etcd") and shutil.which("etcdctl")),
    reason="needs etcd and etcdctl (Debian's etcd-server and etcd-client)",
)


@contextlib.contextmanager
def running(kind: Any, folder: pathlib.Path, tls: dict[str, str]) -> Iterator[Any]:
    folder.mkdir()
    cluster = kind(folder, tls)
    try:
        ctl = clusters.Etcdctl(list(cluster.endpoints), tls)
        ctl.wait_ready()
        yield Story(cluster, ctl)
    finally:
        cluster.stop()


class Story:
    """What is done to one cluster, and what etcdctl says of it."""

    def __init__(self, cluster: Any, ctl: Any) -> None:
        self.cluster, self.ctl = cluster, ctl
        self.transcript: list[Any] = []
        self.anonymous = False
        """Which members are left is decided by who led."""

    def __call__(self, *arguments: str) -> None:
        """Run a command and note its answer."""
        self.note(arguments[:2], self.ctl(*arguments, endpoints=1))

    def until(self, done: Callable[[Any], bool], *arguments: str) -> Any:
        """Run a command until `done(outcome)`, and note that one."""
        deadline_s = time.monotonic() + clusters.PATIENCE_S
        while not done(outcome := self.ctl(*arguments, endpoints=1)):
            assert time.monotonic() < deadline_s, outcome
            time.sleep(0.2)
        self.note(arguments[:2], outcome)
        return outcome

    def note(self, what: Any, outcome: Any) -> None:
        out, error = (self._alike(text) for text in (outcome.out, outcome.error))
        self.transcript.append((what, outcome.code, out, error))

    def _alike(self, text: str) -> list[list[str]]:
        for name, peer in self.cluster.peers.items():
            text = re.sub(rf"{re.escape(peer)}\b", f"PEER-{name}", text)
        text = re.sub(r'"(cluster_id|member_id|raft_term|ID)":\d+', r'"\1":0', text)
        text = re.sub(r"\b[0-9a-f]{13,16}\b", "ID", text)
        text = re.sub(r"127\.0\.0\.1:\d+", "HOST", re.sub(" +", " ", text))
        if self.anonymous:
            text = re.sub(r"\b(PEER-)?(m\d|new)\b", "NAME", text)
        return sorted(sorted(re.split('[,"]', line)) for line in text.splitlines())

    def members(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            self.ctl("member", "list", "-w", "json", endpoints=1).out
        )["members"]
        return found

    def id(self, name: str) -> str:
        """Of the member with this name, or at this address."""
        found = next(m for m in self.members() if m.get("name") == name or name in m["peerURLs"][0])
        return f"{found['ID']:x}"

    def leader(self) -> str:
        [status] = json.loads(self.ctl("endpoint", "status", "-w", "json", endpoints=1).out)
        return next(m["name"] for m in self.members() if m["ID"] == status["Status"]["leader"])

    def leave(self, name: str) -> None:
        """Have the commands go to other members."""
        [url] = next(m["clientURLs"] for m in self.members() if m.get("name") == name)
        self.ctl.endpoints = [e for e in self.ctl.endpoints if e not in url]


def tell(story: Any) -> None:
    peers = clusters.free_addresses(3)
    story.cluster.peers |= {"new": peers[0]}
    new, taken = f"--peer-urls=http://{peers[0]}", story.cluster.peers["m1"]
    story("put", "before", "1")
    story.until(healthy, "member", "add", "new", new, "--learner")
    story("member", "add", "other", f"--peer-urls=http://{taken}")
    story("member", "list")
    story("member", "add", "other", f"--peer-urls=http://{peers[1]}", "--learner")
    story("member", "promote", story.id(peers[0]))
    story("member", "promote", story.id("m0"))
    for command in ("promote", "remove"):
        story("member", command, "1234")
    story("member", "update", "1234", f"--peer-urls=http://{peers[1]}")
    story("member", "update", story.id("m0"), f"--peer-urls=http://{taken}")
    story("member", "update", story.id("m0"), f"--peer-urls=http://{story.cluster.peers['m0']}")
    story.ctl.endpoints.append(story.cluster.join("new", peers[0]))
    story.until(lambda outcome: "started, new" in outcome.out, "member", "list")
    promote = ("member", "promote", story.id("new"))
    story.until(lambda outcome: "in sync" not in outcome.error and healthy(outcome), *promote)
    story("member", "promote", story.id("new"))
    story("put", "promoted", "1")
    _remove_the_leader(story)
    _remove_the_dead(story, peers[1])
    _remove_down_to_one(story, peers[2])


def healthy(outcome: Any) -> bool:
    """Etcd changes nothing in the first seconds of a cluster."""
    return "unhealthy" not in outcome.error


def _remove_the_leader(story: Any) -> None:
    story.anonymous = True
    leader = story.leader()
    if leader == "new":  # which has the newest address: the same story for all
        assert story.ctl("move-leader", story.id("m0")).code == 0
        leader = "m0"
    story.leave(leader)
    removed = story.id(leader)
    story.until(healthy, "member", "remove", removed)
    story.cluster.wait_ended(leader)
    story.until(lambda outcome: outcome.code == 0, "put", "without leader", "1")
    story("member", "remove", removed)
    story.transcript.append(len(story.members()))


def _remove_the_dead(story: Any, address: str) -> None:
    names = sorted(m["name"] for m in story.members() if m["name"] != story.leader())
    dead, alive = story.id(names[0]), story.id(names[1])
    story.leave(names[0])
    story.cluster.kill(names[0])
    add = ("member", "add", "other", f"--peer-urls=http://{address}", "--learner")
    while (outcome := story.ctl(*add, endpoints=1)).code == 0:  # it was not noticed yet
        assert story.ctl("member", "remove", story.id(address), endpoints=1).code == 0
    story.note("add", outcome)
    story("member", "remove", alive)
    story("member", "remove", dead)
    story.until(lambda outcome: outcome.code == 0, "get", "--prefix", "")


def _remove_down_to_one(story: Any, address: str) -> None:
    follower = next(m["name"] for m in story.members() if m["name"] != story.leader())
    removed = story.id(follower)
    story.leave(follower)
    story.until(healthy, "member", "remove", removed)
    story.cluster.wait_ended(follower)
    [last] = story.members()
    story("member", "remove", f"{last['ID']:x}")
    story.until(healthy, "member", "add", "unstarted", f"--peer-urls=http://{address}")


def test_members_change_as_in_etcd(tmp_path: pathlib.Path) -> None:
    tls = clusters.make_certificates(tmp_path)
    told = []
    for kind in (clusters.EtcdCluster, clusters.OwnCluster):
        with running(kind, tmp_path / kind.__name__, tls) as story:
            tell(story)
            told.append(story.transcript)
    etcd, ours = told
    assert [pair for pair in zip(ours, etcd, strict=True) if pair[0] != pair[1]] == []
