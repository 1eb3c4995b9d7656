"""Bugs to plant: each breaks one rule, and the harness has to notice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from raftstore import client, watch, wire
from raftstore.errors import Unavailable
from raftstore.member import Member
from raftstore.mvcc import key_index, machine, sessions, store
from raftstore.raft import consensus, node, wal
from raftstore.state import ReplicatedState
from raftstore.types import Put
from raftstore.watch import Watcher

Patch = Callable[[], contextlib.AbstractContextManager[Any]]


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """Replace `owner.name` by what `make` builds around the original."""
    return lambda: mock.patch.object(owner, name, make(getattr(owner, name)))


def _stock_truncation(original: Any) -> Any:
    return lambda log, entries: entries


def _ack_before_fsync(original: Any) -> Any:
    return lambda self, peer, message: self.post(peer, message)


def _no_read_index(original: Any) -> Any:
    return lambda self, done: done(self.raft.is_leader)


def _local_reads(original: Any) -> Any:
    return lambda self, operation, serializable, answer: original(self, operation, True, answer)


def _duplicate_apply(original: Any) -> Any:
    def write(self: Any, operation: Any) -> Any:
        result = original(self, operation)
        return original(self, operation) if self.store.revision % 50 == 0 else result

    return write


def _lost_event(original: Any) -> Any:
    def offer(self: Watcher, revision: int, events: Any) -> None:
        if revision % 40:
            original(self, revision, events)

    return offer


def _no_prev_kv(original: Any) -> Any:
    def event(self: Any, record: Any) -> Any:
        found = original(self, record)
        return found._replace(prev_kv=self.keys.version_at(record.key, record.mod_revision))

    return event


def _eating_compaction(original: Any) -> Any:
    def compact(self: Any, key: bytes, revision: int) -> Any:
        forgotten = original(self, key, revision)
        self._live.pop(key, None)
        return forgotten

    return compact


def _no_deduplication(original: Any) -> Any:
    return lambda self, sequence, answer: None


def _volatile_votes(original: Any) -> Any:
    def set_state(self: Any, term: int, voted_for: str | None) -> None:
        self.term, self.voted_for = term, voted_for

    return set_state


def _short_snapshot(original: Any) -> Any:
    return lambda self, head, chunks: original(self, head, [c[:-1] for c in chunks])


def _reopened_early(original: Any) -> Any:
    def open_watch(self: Any, key: Any, end: Any, start: int, *rest: Any) -> Any:
        return original(self, key, end, start - 1 if start > 2 else start, *rest)

    return open_watch


def _minority_commit(original: Any) -> Any:
    def committed(matches: Any, commit_index: int, term: int, term_at: Any) -> int:
        highest = max(*matches, commit_index)
        return highest if term_at(highest) == term else commit_index

    return committed


def _unknown_as_failed(original: Any) -> Any:
    return Unavailable


def _any_vote(original: Any) -> Any:
    return lambda voted_for, candidate, own, theirs: True


def _false_progress(original: Any) -> Any:
    def progress(self: Watcher) -> Any:
        found = original(self)
        return found and found._replace(revision=found.revision + 1)

    return progress


def _no_fsync(original: Any) -> Any:
    def sync(self: Any) -> None:
        if self._pending:
            self._write(wire.pack(self._pending))
            self._pending = []
            self.durable_index = self.entries[-1][1] if self.entries else 0

    return sync


def _lost_put(original: Any) -> Any:
    def encode(op: Any) -> Any:
        encoded = original(op)
        stale = isinstance(op, Put) and op.value.endswith(b"77")
        return [wire.Kind.PUT, op.key, b"other", *encoded[3:]] if stale else encoded

    return encode


PLANTED: dict[str, Patch] = {
    "stock truncation": _replace(consensus, "_skip_present", _stock_truncation),
    "acknowledged before fsync": _replace(node.RaftNode, "post_when_durable", _ack_before_fsync),
    "no fsync": _replace(wal.Wal, "sync", _no_fsync),
    "no read index": _replace(node.RaftNode, "read_barrier", _no_read_index),
    "reads from the local state": _replace(Member, "read", _local_reads),
    "write executed twice": _replace(machine.Machine, "_write", _duplicate_apply),
    "commit by a minority": _replace(consensus, "committed_index", _minority_commit),
    "votes for anybody": _replace(consensus, "grants_vote", _any_vote),
    "votes not persisted": _replace(wal.Wal, "set_state", _volatile_votes),
    "lost watch event": _replace(watch.Watcher, "offer", _lost_event),
    "wrong prev_kv": _replace(store.MvccStore, "_event", _no_prev_kv),
    "untrue watch progress": _replace(watch.Watcher, "progress", _false_progress),
    "watch repeats after resuming": _replace(watch.WatchHub, "open", _reopened_early),
    "compaction eats live versions": _replace(key_index.KeyIndex, "compact", _eating_compaction),
    "sessions do not deduplicate": _replace(sessions.Session, "record", _no_deduplication),
    "snapshot installs less than was sent": _replace(ReplicatedState, "restore", _short_snapshot),
    "unknown outcome told as failure": _replace(client, "UnknownOutcome", _unknown_as_failed),
    "a client writes another value": _replace(wire, "encode_op", _lost_put),
}


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """The bug is there while this is open."""
    with PLANTED[name]():
        yield
