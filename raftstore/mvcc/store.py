"""The multi-version store: a global revision, ranges now or in the past, and compaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from raftstore.errors import Compacted, FutureRevision, InvalidRequest
from raftstore.mvcc import selection
from raftstore.mvcc.history import History, Records
from raftstore.mvcc.key_index import KeyIndex
from raftstore.types import Event, KeyValue, Range, RangeResult

FIRST_REVISION = 1
"""The revision of an empty store (as in etcd): the first write is revision 2."""


class MvccStore:
    """Versions of keys. Written through `Transaction`; read directly."""

    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        self.compacted_revision = 0
        self.keys = KeyIndex()
        self.history = History()

    @property
    def size_bytes(self) -> int:
        return self.history.size_bytes

    def commit(self, records: Records) -> None:
        """Make the records, already in the index, the next revision."""
        self.revision += 1
        self.history.append(self.revision, records)

    def range(self, request: Range, *, committed: bool = False) -> RangeResult:
        """Read now or at an earlier revision. Raises Compacted, FutureRevision.

        `committed`: a transaction has written; a revision that is named does not have that yet.
        """
        self.check_readable(request.revision)
        if not request.revision or (request.revision == self.revision and not committed):
            return self._range_now(request)
        return self._range_then(request)

    def check_readable(self, revision: int) -> None:
        if revision < 0:
            raise InvalidRequest("revision must not be negative")
        if revision > self.revision:
            raise FutureRevision(self.revision)
        if 0 < revision < self.compacted_revision:
            raise Compacted(self.compacted_revision)

    def _range_now(self, request: Range) -> RangeResult:
        count = self.keys.count(request.key, request.range_end)
        if request.count_only:
            return RangeResult(self.revision, [], False, count)
        limit = 0 if selection.needs_all(request) else request.limit
        kvs = self.keys.current(request.key, request.range_end, limit)
        return self._result(request, kvs, count)

    def _range_then(self, request: Range) -> RangeResult:
        found = self.keys.at(request.revision, request.key, request.range_end)
        cut = request.limit and not selection.needs_all(request)
        kvs = list(islice(found, request.limit)) if cut else list(found)
        count = len(kvs) + sum(1 for _ in found)
        if request.count_only:
            return RangeResult(self.revision, [], False, count)
        return self._result(request, kvs, count)

    def _result(self, request: Range, kvs: list[KeyValue], count: int) -> RangeResult:
        more = len(kvs) < count
        if selection.needs_all(request):
            kvs = selection.select(kvs, request)
            more = bool(request.limit) and len(kvs) > request.limit
            kvs = kvs[: request.limit] if more else kvs
        if request.keys_only:
            kvs = [kv._replace(value=b"") for kv in kvs]
        return RangeResult(self.revision, kvs, more, count)

    def events(self, revision: int) -> list[Event]:
        """What happened in `revision`, with previous versions as far as they are kept."""
        return [self._event(record) for record in self.history.at(revision)]

    def _event(self, record: KeyValue) -> Event:
        previous = self.keys.version_at(record.key, record.mod_revision - 1)
        return Event("put" if record.version else "delete", record, previous)

    def compact(self, revision: int) -> None:
        """Forget versions superseded at or before `revision`; later history stays whole.

        Costs in proportion to what was written since the last compaction.
        """
        if revision <= self.compacted_revision:
            raise Compacted(self.compacted_revision)
        if revision > self.revision:
            raise FutureRevision(self.revision)
        changed = {
            record.key
            for main in range(self.compacted_revision, revision + 1)
            for record in self.history.at(main)
        }
        self.compacted_revision = revision
        for key in changed:
            self.history.forget(self.keys.compact(key, revision))

    def cut(self) -> Iterator[Records]:
        """The records of each revision, in order, as of now."""
        return self.history.cut()

    @classmethod
    def restore(
        cls, revision: int, compacted_revision: int, cut: Iterable[Sequence[KeyValue]]
    ) -> MvccStore:
        """The store that `cut` was taken from."""
        store = cls()
        for records in cut:
            for record in records:
                store.keys.add(record)
            store.history.append(records[0].mod_revision, tuple(records))
        store.revision, store.compacted_revision = revision, compacted_revision
        return store
