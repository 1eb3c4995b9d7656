"""What a watch promises: every event of interest once, in order, whole revisions, true progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from raftstore.types import Event, EventType, KeyValue, WatchBatch
from raftstore.verify.history import Applied
from raftstore.verify.model import affects


@dataclass
class Watched:
    """What one watch asked for and got.

    `start` 0: from behind its first batch. Without `prev_kv` no previous version may come.
    """

    key: bytes
    range_end: bytes
    start: int
    prev_kv: bool = False
    filters: Sequence[EventType] = ()
    opened_s: float = 0.0
    batches: list[WatchBatch] = field(default_factory=list)

    @property
    def last(self) -> int:
        """Up to which revision it has been told everything; 0: nothing yet."""
        return self.batches[-1].revision if self.batches else 0

    def wants(self, event: Event) -> bool:
        return event.type not in self.filters and affects(event.kv.key, self.key, self.range_end)


def check(watched: Watched, applied: Applied, compacted_revision: int) -> list[str]:
    """A previous version may be missing in events up to `compacted_revision`."""
    batches = watched.batches
    if not batches:
        return []
    start = watched.start or batches[0].revision + (not batches[0].events)
    got = [(event.kv.mod_revision, event) for batch in batches for event in batch.events]
    expected = _expected(watched, start, applied)
    problems = _order(batches)
    if [(r, e._replace(prev_kv=None)) for r, e in got] != [(r, e) for r, e, _ in expected]:
        problems.append(f"watch from {start} to {watched.last}: {_difference(got, expected)}")
        return problems
    for (revision, event), (_, _, previous) in zip(got, expected, strict=True):
        forgotten = event.prev_kv is None and revision <= compacted_revision
        if event.prev_kv != (previous if watched.prev_kv else None) and not forgotten:
            problems.append(f"revision {revision}: prev_kv {event.prev_kv}, not {previous}")
    return problems


def check_current(watched: Watched, revision: int) -> list[str]:
    """A watch of a store without faults knows all that happened until a moment ago."""
    if watched.last >= revision:
        return []
    return [f"watch of {watched.key!r} is at {watched.last}, long after revision {revision}"]


def _order(batches: Sequence[WatchBatch]) -> list[str]:
    problems, last = [], 0
    for batch in batches:
        if batch.revision < last or (batch.events and batch.revision == last):
            problems.append(f"watch went from revision {last} to {batch.revision}")
        if any(event.kv.mod_revision != batch.revision for event in batch.events):
            problems.append(f"a batch of revision {batch.revision} has events of others: {batch}")
        last = batch.revision
    return problems


def _expected(
    watched: Watched, start: int, applied: Applied
) -> list[tuple[int, Event, KeyValue | None]]:
    found, current = [], dict[bytes, KeyValue]()
    for revision in sorted(applied.events):
        if revision > watched.last:
            break
        for event in applied.events[revision]:
            key = event.kv.key
            if revision >= start and watched.wants(event):
                found.append((revision, event, current.get(key)))
            current[key] = event.kv
            if event.type == "delete":
                del current[key]
    return found


def _difference(
    got: Sequence[tuple[int, Event]], expected: Sequence[tuple[int, Event, object]]
) -> str:
    have, want = [revision for revision, _ in got], [revision for revision, _, _ in expected]
    missing = sorted(set(want) - set(have))
    extra = [r for n, r in enumerate(have) if r not in want or r in have[:n]]
    return f"missing {missing}, too many {extra}" if missing or extra else "wrong contents"
