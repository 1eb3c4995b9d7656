"""Every kept record in order of revision: what watches catch up from and snapshots save."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from raftstore.types import KeyValue

Records = tuple[KeyValue, ...]


class History:
    """Records by main revision; the position in a tuple is the record's sub-revision.

    Tuples are replaced, never changed, so a copy of the outer dict is a consistent snapshot.
    """

    def __init__(self) -> None:
        self._by_revision: dict[int, Records] = {}
        self.size_bytes = 0

    def append(self, revision: int, records: Records) -> None:
        self._by_revision[revision] = records
        for record in records:
            self.size_bytes += record_size_bytes(record)

    def at(self, revision: int) -> Records:
        return self._by_revision.get(revision, ())

    def forget(self, records: Iterable[KeyValue]) -> None:
        for record in records:
            revision = record.mod_revision
            kept = tuple(r for r in self._by_revision[revision] if r is not record)
            self.size_bytes -= record_size_bytes(record)
            if kept:
                self._by_revision[revision] = kept
            else:
                del self._by_revision[revision]

    def cut(self) -> Iterator[Records]:
        """All records as of this call, in order; later changes do not show."""
        return iter(list(self._by_revision.values()))


def record_size_bytes(record: KeyValue) -> int:
    """About what a record occupies: its bytes and a constant for what holds them."""
    return len(record.key) + len(record.value) + 200
