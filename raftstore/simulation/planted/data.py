"""Bugs in the data model, watches, sessions and the client."""

from __future__ import annotations

from typing import Any

from actors.simulation.patching import Patch, replace
from raftstore import client, watch, wire
from raftstore.errors import Unavailable
from raftstore.mvcc import key_index, machine, selection, sessions, store, txn
from raftstore.mvcc.txn import in_range
from raftstore.types import Put
from raftstore.watch import Watcher


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


def _false_progress(original: Any) -> Any:
    def progress(self: Watcher) -> Any:
        found = original(self)
        return found and found._replace(revision=found.revision + 1)

    return progress


def _opened(shift: int) -> Any:
    def make(original: Any) -> Any:
        def open_watch(self: Any, key: Any, end: Any, start: int, *rest: Any) -> Any:
            return original(self, key, end, start + shift if start > 2 else start, *rest)

        return open_watch

    return make


def _no_filters(original: Any) -> Any:
    return lambda self, event: in_range(event.kv.key, self.key, self.range_end)


def _silent_watch(original: Any) -> Any:
    return lambda self: original(self) if self._hub.revision < 300 else None


def _eating_compaction(original: Any) -> Any:
    def compact(self: Any, key: bytes, revision: int) -> Any:
        forgotten = original(self, key, revision)
        self._live.pop(key, None)
        return forgotten

    return compact


def _no_deduplication(original: Any) -> Any:
    return lambda self, sequence, answer: None


def _forgotten_sessions(original: Any) -> Any:
    return lambda self, dumped: None


def _old_limit(original: Any) -> Any:
    return lambda kvs, request: original(kvs[: request.limit or None], request)


def _new_prev_kv(original: Any) -> Any:
    def put(self: Any, op: Any) -> Any:
        result = original(self, op)
        return result and result._replace(prev_kv=self._store.keys.get(op.key))

    return put


def _unknown_as_failed(original: Any) -> Any:
    return Unavailable


def _lost_put(original: Any) -> Any:
    def encode(op: Any) -> Any:
        encoded = original(op)
        stale = isinstance(op, Put) and op.value.endswith(b"77")
        return [wire.Kind.PUT, op.key, b"other", *encoded[3:]] if stale else encoded

    return encode


PLANTED: dict[str, Patch] = {
    "write executed twice": replace(machine.Machine, "_write", _duplicate_apply),
    "lost watch event": replace(watch.Watcher, "offer", _lost_event),
    "wrong prev_kv in watches": replace(store.MvccStore, "_event", _no_prev_kv),
    "wrong prev_kv in answers": replace(txn.Transaction, "_put", _new_prev_kv),
    "untrue watch progress": replace(watch.Watcher, "progress", _false_progress),
    "watch repeats after resuming": replace(watch.WatchHub, "open", _opened(-1)),
    "watch resumes one revision too late": replace(watch.WatchHub, "open", _opened(1)),
    "watch filters do nothing": replace(watch.Watcher, "wants", _no_filters),
    "watch falls silent": replace(watch.Watcher, "take", _silent_watch),
    "compaction eats live versions": replace(key_index.KeyIndex, "compact", _eating_compaction),
    "sessions do not deduplicate": replace(sessions.Session, "record", _no_deduplication),
    "sessions are not in snapshots": replace(sessions.Sessions, "load", _forgotten_sessions),
    "limit before the bounds of a range": replace(selection, "select", _old_limit),
    "unknown outcome told as failure": replace(client, "UnknownOutcome", _unknown_as_failed),
    "a client writes another value": replace(wire, "encode_op", _lost_put),
}
