"""Linearizability by replay: revisions are a total order; every answer must fit into it.

A written value is unique, so its revision tells which call made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raftstore.types import KeyValue
from raftstore.verify.history import Applied, Call

State = dict[bytes, KeyValue]


def check(calls: Sequence[Call], applied: Applied) -> list[str]:
    """What no order of the calls can explain."""
    return [
        *applied.violations,
        *_gaps(applied),
        *_values(calls, applied),
        *_answers(calls, applied),
        *_real_time(calls, applied),
    ]


def _gaps(applied: Applied) -> Iterator[str]:
    for expected, revision in enumerate(sorted(applied.events), 2):
        if revision != expected:
            yield f"revision {expected} was never applied"
            return


def _values(calls: Sequence[Call], applied: Applied) -> Iterator[str]:
    """Each value is written at most once, and only if its call may have been applied."""
    seen: dict[bytes, int] = {}
    for revision, events in sorted(applied.events.items()):
        for event in events:
            value = event.kv.value
            if event.type == "put" and value in seen:
                yield f"value {value!r} was written twice: {seen[value]} and {revision}"
            seen[value] = revision
    for call in calls:
        if call.kind in ("put", "cas") and call.outcome == "failed" and call.value in seen:
            yield f"told as not applied, but is revision {seen[call.value]}: {call}"


def _answers(calls: Sequence[Call], applied: Applied) -> Iterator[str]:
    answered = sorted((c for c in calls if c.outcome == "ok"), key=lambda c: c.result.revision)
    state: State = {}
    upcoming = iter(sorted(applied.events))
    revision = next(upcoming, None)
    for call in answered:
        while revision is not None and revision < call.result.revision:
            _advance(state, applied, revision)
            revision = next(upcoming, None)
        before = state.get(call.key)
        if revision is not None and revision == call.result.revision:
            _advance(state, applied, revision)
            revision = next(upcoming, None)
        wrong = _explain(call, before, state, applied)
        if wrong:
            yield f"{wrong}: {call}"


def _advance(state: State, applied: Applied, revision: int) -> None:
    for event in applied.events[revision]:
        if event.type == "put":
            state[event.kv.key] = event.kv
        else:
            state.pop(event.kv.key, None)


def _explain(call: Call, before: KeyValue | None, state: State, applied: Applied) -> str | None:
    """None if the answer is right for the revision that it names."""
    found = state.get(call.key)
    if call.kind == "range":
        kvs = list(call.result.kvs)
        return None if kvs == ([found] if found else []) else f"stale or wrong read, is {found}"
    events = applied.events.get(call.result.revision, [])
    if call.kind == "put" or (call.kind == "cas" and call.result.succeeded):
        written = any(e.type == "put" and e.kv.value == call.value for e in events)
        return None if written else "acknowledged write is not in its revision"
    return None


def _real_time(calls: Sequence[Call], applied: Applied) -> Iterator[str]:
    """What returned before a call began is at an earlier or (for reads) the same revision."""
    points = [(c.invoked_s, 1, n) for n, c in enumerate(calls) if c.outcome == "ok"]
    points += [(c.returned_s, 0, n) for n, c in enumerate(calls) if c.outcome == "ok"]
    newest, floors = 0, {}
    for _, kind, number in sorted(points):
        if kind == 1:
            floors[number] = newest
            continue
        call = calls[number]
        if call.result.revision < floors.get(number, 0):
            yield f"went back before revision {floors[number]}: {call}"
        newest = max(newest, call.result.revision)
    newest_at_end = max(applied.events, default=1)
    for number in floors:
        if calls[number].result.revision > newest_at_end:
            yield f"a revision that does not exist: {calls[number]}"
