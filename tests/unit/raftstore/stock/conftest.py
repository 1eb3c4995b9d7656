"""PySyncObj as released, driven by the same harness as our consensus, for comparison."""

from __future__ import annotations

import functools
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import pysyncobj.syncobj as library
import pytest
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from raftstore.raft.interface import Outcome

_OUTCOMES = {FAIL_REASON.SUCCESS: Outcome.APPLIED, FAIL_REASON.DISCARDED: Outcome.REFUSED}


class _QueueTransport(Transport):  # type: ignore[misc]
    def __init__(self, post: Callable[[str, Any], bool]) -> None:
        super().__init__(None, None, None)
        self._post = post

    def remove_member(self, name: str) -> None:
        self.removeNodeFromCluster(Node(name))

    def receive(self, sender: str, message: Any) -> None:
        self._onMessageReceived(Node(sender), message)

    def connect(self, peer: str) -> None:
        self._onNodeConnected(Node(peer))

    def send(self, node: Node, message: Any) -> bool:
        return self._post(node.id, message)


class StockSyncObj(SyncObj):  # type: ignore[misc]
    """The library unchanged, with the few names that the harness uses."""

    def __init__(self, cluster: Any, name: str, **settings: Any) -> None:
        self._cluster = cluster
        self._links = _QueueTransport(lambda peer, message: cluster.send(name, peer, message))
        self._leader_seen_s = 0.0
        defaults = {
            "raftMinTimeout": 10.0,
            "raftMaxTimeout": 12.0,
            "connectionTimeout": 30.0,
            "logCompactionBatchSize": 64,
            "dynamicMembershipChange": True,
        }
        peers = [Node(peer) for peer in cluster.names if peer != name]
        conf = SyncObjConf(autoTick=False, useFork=False, **(defaults | settings))
        super().__init__(Node(name), peers, conf, transport=self._links, nodeClass=Node)
        self.applied: list[bytes] = []
        for peer in peers:
            self._links.connect(peer.id)
        self._expect_election(1e6)

    @replicated  # type: ignore[misc]
    def put(self, command: bytes) -> int:
        self.applied.append(command)
        if command == b"boom":
            raise ValueError("boom")
        return len(self.applied)

    def remove_member(self, name: str) -> None:
        self.removeNodeFromCluster(Node(name))

    def receive(self, sender: str, message: Any) -> None:
        self._links.receive(sender, message)

    def link_up(self, peer: str) -> None:
        self._links.connect(peer)

    def propose(self, command: bytes, callback: Any) -> None:
        self.put(
            command,
            callback=lambda result, error: callback(_OUTCOMES.get(error, Outcome.UNKNOWN), result),
        )

    def _expect_election(self, delay_s: float) -> None:
        self._SyncObj__raftElectionDeadline = self._cluster.clock.now() + delay_s - 1e-6

    @property
    def is_leader(self) -> bool:
        return bool(self._isLeader())

    @property
    def is_established(self) -> bool:
        return bool(self._isLeader() and self.isReady())

    @property
    def term(self) -> int:
        return int(self.raftCurrentTerm)

    @property
    def commit_index(self) -> int:
        return int(self.raftCommitIndex)


class StockMember:
    def __init__(self, cluster: Any, name: str, disk: Any, **settings: Any) -> None:
        self.raft = StockSyncObj(cluster, name, **settings)
        self.errors = 0

    @property
    def applied(self) -> list[bytes]:
        return self.raft.applied

    def turn(self) -> None:
        """As the library's own thread does: an error ends the tick, not the member."""
        try:
            self.raft.doTick(0)
        except Exception:
            self.errors += 1

    def propose(self, command: bytes) -> list[tuple[Outcome, Any]]:
        outcomes: list[tuple[Outcome, Any]] = []
        self.raft.propose(command, lambda outcome, result: outcomes.append((outcome, result)))
        return outcomes

    def compact(self) -> None:
        self.raft.forceLogCompaction()

    def commands(self) -> list[bytes]:
        log = self.raft._SyncObj__raftLog[:]
        return [pickle.loads(entry[0][1:])[1][0] for entry in log if entry[0][:1] == b"\0"]


class System:
    """One of the two: the library as released (`stock`), or what is built on it here."""

    def __init__(self, stock: bool, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stock, self._cluster, self._monkeypatch = stock, cluster, monkeypatch

    def cluster(self, names: str = "ABC", **settings: Any) -> Any:
        """`settings`: of the library's configuration."""
        if not self.stock:
            return self._cluster(names)
        now_s = [1000.0]
        self._monkeypatch.setattr(library, "monotonicTime", lambda: now_s[0])
        net = self._cluster(names, functools.partial(StockMember, **settings), pickle)
        self._monkeypatch.setattr(library, "monotonicTime", net.clock.now)
        return net

    def alone(self, net: Any, folder: pathlib.Path) -> StockSyncObj:
        """The library as a cluster of one, with a journal and a dump as files; it leads."""
        files = {"journalFile": str(folder / "journal"), "fullDumpFile": str(folder / "dump")}
        member = StockSyncObj(net, net.names[0], **files)
        member._expect_election(0.0)
        for _ in range(10):
            net.clock.now_s += 0.1
            member.doTick(0)
        return member

    def expect(self, kept: bool) -> None:
        """The promise is kept here, and broken by the library: else the scenario shows nothing."""
        if self.stock:
            assert not kept, "the library keeps this promise: the scenario does not show its fault"
        else:
            assert kept


@pytest.fixture(params=["stock", "ours"])
def system(request: pytest.FixtureRequest, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> System:
    return System(request.param == "stock", cluster, monkeypatch)
