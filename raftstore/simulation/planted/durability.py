"""Bugs in what is on disk, and when it is."""

from __future__ import annotations

from typing import Any

from actors.simulation.patching import Patch, replace
from raftstore import wire
from raftstore.mvcc.store import MvccStore
from raftstore.raft import frames, node, snapshot, wal
from raftstore.state import ReplicatedState


def _ack_before_fsync(original: Any) -> Any:
    return lambda self, peer, message: self.post(peer, message)


def _no_fsync(original: Any) -> Any:
    def sync(self: Any) -> None:
        if self._pending:
            self._write(wire.pack(self._pending))
            self._pending = []
            self.durable_index = self.entries[-1][1] if self.entries else 0

    return sync


def _volatile_votes(original: Any) -> Any:
    def set_state(self: Any, term: int, voted_for: str | None) -> None:
        self.term, self.voted_for = term, voted_for

    return set_state


def _kept_tail(original: Any) -> Any:
    def go_on(self: Any, file: Any, data: bytes, end: int, number: int) -> None:
        self.repaired_bytes = 0
        original(self, file, data, max(end, len(data.rstrip(b"\0"))), number)

    return go_on


def _never_damaged(original: Any) -> Any:
    return lambda data, offset: True


def _torn_never(original: Any) -> Any:
    return lambda data, offset: False


def _short_snapshot(original: Any) -> Any:
    return lambda self, head, chunks: original(self, head, [c[:-1] for c in chunks])


def _unsynced_snapshot(original: Any) -> Any:
    def finish(self: Any) -> Any:
        loaded = snapshot.load(self._disk, self._path)
        snapshot.publish(self._disk, self._folder, self._path, self.position)
        return loaded

    return finish


def _claimed_install(original: Any) -> Any:
    def reply(self: Any, peer: str, message: Any, installed: bool) -> None:
        original(self, peer, message, installed=True)

    return reply


def _forgotten_values(original: Any) -> Any:
    def restore(cls: Any, revision: int, compacted: int, cut: Any) -> Any:
        records = [[*of_revision] for of_revision in cut]
        for of_revision in records[:-20:7]:
            of_revision[0] = of_revision[0]._replace(value=b"")
        return original(revision, compacted, records)

    return classmethod(restore)


PLANTED: dict[str, Patch] = {
    "acknowledged before fsync": replace(node.RaftNode, "post_when_durable", _ack_before_fsync),
    "no fsync": replace(wal.Wal, "sync", _no_fsync),
    "votes not persisted": replace(wal.Wal, "set_state", _volatile_votes),
    "writes go on behind a torn tail": replace(wal.Wal, "_continue", _kept_tail),
    "damage is taken for a torn write": replace(frames, "is_torn", _never_damaged),
    "a torn write is taken for damage": replace(frames, "is_torn", _torn_never),
    "snapshot installs less than was sent": replace(ReplicatedState, "restore", _short_snapshot),
    "an installed snapshot is not synced": replace(
        snapshot.IncomingSnapshot, "finish", _unsynced_snapshot
    ),
    "a snapshot is acknowledged before it is verified": replace(
        node.RaftNode, "_reply_snapshot", _claimed_install
    ),
    "a restored snapshot lost old values": replace(MvccStore, "restore", _forgotten_values),
}
