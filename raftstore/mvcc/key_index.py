"""Which versions of which keys exist: the current ones, and each key's history.

A key's history is the list of its records in order of revision. A deletion is a record of
version 0 and ends a generation; the next put starts another one at version 1. A key changes at
most once in a revision (the transaction rules see to that), so the revision finds the record.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter

from sortedcontainers import SortedDict

from raftstore.types import ALL_FROM, KeyValue

_REVISION = attrgetter("mod_revision")


class KeyIndex:
    """Sorted keys with their current version (`live`) and all versions that are kept."""

    def __init__(self) -> None:
        self._live = SortedDict()
        self._histories = SortedDict()

    def get(self, key: bytes) -> KeyValue | None:
        """The current version of `key`."""
        found: KeyValue | None = self._live.get(key)
        return found

    def add(self, record: KeyValue) -> None:
        """Append a record, which must be newer than all others of its key."""
        key, live = record.key, self._live
        history = self._histories.get(key)
        if history is None:
            self._histories[key] = [record]
        else:
            history.append(record)
        if not record.version:
            live.pop(key, None)
        elif key in live:
            dict.__setitem__(live, key, record)  # the order of keys stays: half the cost
        else:
            live[key] = record

    def count(self, key: bytes, range_end: bytes) -> int:
        """How many keys exist now in the range, in O(log n)."""
        if not range_end:
            return int(key in self._live)
        last = self._last(range_end)
        end = len(self._live) if last is None else self._live.bisect_left(last)
        number: int = max(0, end - self._live.bisect_left(key))
        return number

    def current(self, key: bytes, range_end: bytes, limit: int = 0) -> list[KeyValue]:
        """Current versions in key order, at most `limit` (0: all)."""
        if not range_end:
            found = self._live.get(key)
            return [found] if found else []
        live, last = self._live, self._last(range_end)
        if last is not None and last <= key:
            return []
        keys = live.irange(key, last, inclusive=(True, False))
        return [live[k] for k in (islice(keys, limit) if limit else keys)]

    def at(self, revision: int, key: bytes, range_end: bytes) -> Iterator[KeyValue]:
        """Versions that were current at `revision`, in key order."""
        for name in self._known(key, range_end):
            found = self.version_at(name, revision)
            if found is not None:
                yield found

    def version_at(self, key: bytes, revision: int) -> KeyValue | None:
        """The version of `key` that was current at `revision`, as far as it is kept."""
        history = self._histories.get(key)
        if not history:
            return None
        position = bisect_right(history, revision, key=_REVISION)
        if not position or not history[position - 1].version:
            return None
        record: KeyValue = history[position - 1]
        return record

    def compact(self, key: bytes, revision: int) -> list[KeyValue]:
        """Forget what `revision` superseded; return what was forgotten.

        A deletion at exactly `revision` stays until the next compaction, so that a watch from
        there still sees it (etcd's rule).
        """
        history = self._histories.get(key)
        if not history:
            return []
        keep_from = max(0, bisect_right(history, revision, key=_REVISION) - 1)
        first = history[keep_from]
        keep_from += not first.version and first.mod_revision < revision
        dropped: list[KeyValue] = history[:keep_from]
        del history[:keep_from]
        if not history:
            del self._histories[key]
        return dropped

    def _known(self, key: bytes, range_end: bytes) -> Iterator[bytes]:
        if not range_end:
            return iter((key,))
        last = self._last(range_end)
        if last is not None and last <= key:
            return iter(())
        found: Iterator[bytes] = self._histories.irange(key, last, inclusive=(True, False))
        return found

    @staticmethod
    def _last(range_end: bytes) -> bytes | None:
        return None if range_end == ALL_FROM else range_end
