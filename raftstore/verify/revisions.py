"""Linearizability by replay: revisions are a total order; every answer must fit into it.

A written value is unique, so its revision tells which call made it. That each answer is the one
that `model` gives at the revision that it names makes the order of revisions a sequential history;
that revisions never go back in real time makes it a linearization (Herlihy and Wing, 1990).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from raftstore.types import Event, Op, Put, Txn
from raftstore.verify.history import Applied, Call, State
from raftstore.verify.model import Refused, evaluate

Exempt = Callable[[int, Sequence[Event]], bool]
"""Whether something other than a call made this revision."""


def check(
    calls: Sequence[Call], applied: Applied, exempt: Exempt = lambda revision, events: False
) -> list[str]:
    """What no order of the calls can explain."""
    problems = [*applied.violations, *_gaps(applied)]
    if problems:
        return problems
    states = applied.states()
    claimed: dict[int, Call] = {}
    return [
        *_values(calls, applied, states),
        *_answers(calls, applied, states, claimed),
        *_unexplained(calls, applied, states, claimed, exempt),
        *_real_time(calls, applied),
    ]


def _gaps(applied: Applied) -> Iterator[str]:
    for expected, revision in enumerate(sorted(applied.events), 2):
        if revision != expected:
            yield f"revision {expected} was never applied"
            return


def _values(calls: Sequence[Call], applied: Applied, states: Sequence[State]) -> Iterator[str]:
    """Each value is written at most once, and only if its call may have been applied."""
    seen: dict[bytes, int] = {}
    for revision, events in sorted(applied.events.items()):
        for kv in (event.kv for event in events if event.type == "put"):
            before = states[revision - 1].get(kv.key)
            if kv.value in seen and (before is None or before.value != kv.value):
                yield f"value {kv.value!r} was written twice: {seen[kv.value]} and {revision}"
            seen.setdefault(kv.value, revision)
    for call in calls:
        if call.outcome in ("failed", "refused"):
            for value in written_values(call.op):
                if value in seen:
                    yield f"told as not applied, but is revision {seen[value]}: {call}"


def written_values(op: Op) -> Iterator[bytes]:
    """What the operation may write, if it gives the value itself."""
    if isinstance(op, Put) and not op.ignore_value:
        yield op.value
    elif isinstance(op, Txn):
        for inner in (*op.success, *op.failure):
            yield from written_values(inner)


def _answers(
    calls: Sequence[Call], applied: Applied, states: Sequence[State], claimed: dict[int, Call]
) -> Iterator[str]:
    for call in calls:
        if call.outcome == "ok":
            wrong = _explain(call, applied, states, claimed)
            if wrong:
                yield f"{wrong}: {call}"


def _explain(
    call: Call, applied: Applied, states: Sequence[State], claimed: dict[int, Call]
) -> str | None:
    """None if the answer is right for the revision that it names."""
    revision = call.result.revision
    if not 1 <= revision <= applied.newest:
        return f"a revision that does not exist (the newest is {applied.newest})"
    result, events = _evaluate(call.op, states, revision)
    if not events and result == call.result:
        return None
    wanted: Any = result
    if revision > 1:
        result, events = _evaluate(call.op, states, revision - 1)
        if events and result == call.result and events == applied.events[revision]:
            if revision in claimed:
                return f"revision {revision} was made by {claimed[revision]}"
            claimed[revision] = call
            return None
        wanted = result if events else wanted
    return f"stale or wrong answer, should be {wanted}"


def _evaluate(op: Op, states: Sequence[State], revision: int) -> tuple[Any, list[Event]]:
    try:
        return evaluate(op, states, revision)
    except (Refused, IndexError) as error:
        return error, []


def _unexplained(
    calls: Sequence[Call],
    applied: Applied,
    states: Sequence[State],
    claimed: dict[int, Call],
    exempt: Exempt,
) -> Iterator[str]:
    """Every revision was made by one call that may have made it, or is exempt."""
    open_calls = [c for c in calls if c.outcome in ("unknown", "open") and not c.serializable]
    makers: dict[int, int] = {}

    def assign(revision: int, tried: set[int]) -> bool:
        """A maker for the revision; others give way if they have another one (Kuhn)."""
        for number, call in enumerate(open_calls):
            if number in tried or call.invoked_s > applied.at_s[revision]:
                continue
            if _evaluate(call.op, states, revision - 1)[1] != applied.events[revision]:
                continue
            tried.add(number)
            if number not in makers or assign(makers[number], tried):
                makers[number] = revision
                return True
        return False

    for revision, events in sorted(applied.events.items()):
        if revision in claimed or exempt(revision, events) or assign(revision, set()):
            continue
        yield f"revision {revision} was made by no call: {events}"


def _real_time(calls: Sequence[Call], applied: Applied) -> Iterator[str]:
    """What returned before a call began is at an earlier or (for reads) the same revision."""
    answered = [c for c in calls if c.outcome == "ok" and not c.serializable]
    points = [(c.invoked_s, 1, n) for n, c in enumerate(answered)]
    points += [(c.returned_s, 0, n) for n, c in enumerate(answered)]
    newest, floors = 0, {}
    for _, kind, number in sorted(points):
        if kind == 1:
            floors[number] = newest
            continue
        call = answered[number]
        if call.result.revision < floors.get(number, 0):
            yield f"went back before revision {floors[number]}: {call}"
        newest = max(newest, call.result.revision)
