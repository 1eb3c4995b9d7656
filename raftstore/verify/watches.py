"""What a watch promises: every event of interest once, in order, whole revisions, true progress."""

from __future__ import annotations

from collections.abc import Sequence

from raftstore.types import Event, KeyValue, WatchBatch
from raftstore.verify.history import Applied


def check(
    batches: Sequence[WatchBatch],
    start_revision: int,
    prefix: bytes,
    prev_kv: bool,
    applied: Applied,
    compacted_revision: int,
) -> list[str]:
    """`start_revision` 0: from behind the first batch. Without `prev_kv` none may come.

    A previous version may be missing in events up to `compacted_revision`.
    """
    if not batches:
        return []
    start, last = start_revision or batches[0].revision + 1, batches[-1].revision
    if not start_revision and batches[0].events:
        start = batches[0].revision
    got = [(event.kv.mod_revision, event) for batch in batches for event in batch.events]
    expected = _expected(start, last, prefix, applied)
    problems = _order(batches)
    if [(r, e._replace(prev_kv=None)) for r, e in got] != [(r, e) for r, e, _ in expected]:
        problems.append(f"watch from {start} to {last}: {_difference(got, expected)}")
        return problems
    for (revision, event), (_, _, previous) in zip(got, expected, strict=True):
        forgotten = event.prev_kv is None and revision <= compacted_revision
        if event.prev_kv != (previous if prev_kv else None) and not forgotten:
            problems.append(f"revision {revision}: prev_kv {event.prev_kv}, not {previous}")
    return problems


def _order(batches: Sequence[WatchBatch]) -> list[str]:
    problems, last = [], 0
    for batch in batches:
        if batch.revision < last or (batch.events and batch.revision == last):
            problems.append(f"watch went from revision {last} to {batch.revision}")
        last = batch.revision
    return problems


def _expected(
    start: int, last: int, prefix: bytes, applied: Applied
) -> list[tuple[int, Event, KeyValue | None]]:
    found, current = [], dict[bytes, KeyValue]()
    for revision in sorted(applied.events):
        if revision > last:
            break
        for event in applied.events[revision]:
            key = event.kv.key
            if revision >= start and key.startswith(prefix):
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
