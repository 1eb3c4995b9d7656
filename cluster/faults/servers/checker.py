"""Whether answers of several servers are those of one: real-time order, snapshots, watches (pure).

The truth is the store's own order of revisions. An answer must fit a revision between what was
known to be written when its request began and what was surely not written when it came
(linearizability, which revisions make easy to decide: Herlihy and Wing 1990).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from cluster.faults.servers.history import WRITES, Call, Seen, Watched, Write


def check(calls: Sequence[Call], writes: Sequence[Write], watched: Sequence[Watched]) -> list[str]:
    """Everything that is wrong, in words. `writes` are all there were, by revision."""
    truth, bounds = Truth(writes), Bounds(calls)
    found = list(_failures(calls))
    found += _attributed(calls, writes)
    for call in calls:
        if call.outcome == "ok":
            found += _answered(call, truth, bounds)
        elif call.outcome == "refused":
            found += _refused(call, truth, bounds)
    for number, each in enumerate(watched):
        found += [f"watch {number}: {problem}" for problem in _followed(each, truth)]
    return found


class Truth:
    """States by revision."""

    def __init__(self, writes: Sequence[Write]) -> None:
        self.writes = list(writes)
        self._revisions = [write.revision for write in self.writes]
        self._changes: dict[str, list[Write]] = {}
        for write in self.writes:
            self._changes.setdefault(write.name, []).append(write)

    def at(self, name: str, revision: int) -> Write | None:
        """The change of a name that is in force at a revision, None before its first."""
        changes = self._changes.get(name, [])
        position = bisect_right(changes, revision, key=lambda write: write.revision)
        return changes[position - 1] if position else None

    def exists(self, name: str, revision: int) -> bool:
        write = self.at(name, revision)
        return write is not None and write.value is not None

    def within(self, name: str, low: int, high: float) -> list[bool]:
        """Whether the name exists, in each state from `low` to `high`."""
        changes = [w.value is not None for w in self.changes(name, low, high)]
        return [self.exists(name, low), *changes]

    def changes(self, name: str, low: int, high: float) -> list[Write]:
        """Those after `low` and up to `high`."""
        return [w for w in self._changes.get(name, []) if low < w.revision <= high]

    def state(self, revision: int) -> dict[str, int]:
        """The revision of each object that exists."""
        found = {name: self.at(name, revision) for name in self._changes}
        return {n: w.revision for n, w in found.items() if w is not None and w.value is not None}

    def events(self, start: int, end: int) -> Iterator[Seen]:
        """What a watch shows after `start`, up to `end`."""
        low, high = bisect_right(self._revisions, start), bisect_right(self._revisions, end)
        for write in self.writes[low:high]:
            before = self.at(write.name, write.revision - 1)
            known = before is not None and before.value is not None
            if write.value is not None:
                yield Seen("MODIFIED" if known else "ADDED", *_shown(write, write.value))
            elif before is not None and before.value is not None:
                yield Seen("DELETED", *_shown(write, before.value))


def _shown(write: Write, value: str) -> tuple[str, int, str]:
    return write.name, write.revision, value


class Bounds:
    """Between which revisions the store was at a time, as far as answers tell."""

    def __init__(self, calls: Sequence[Call]) -> None:
        told = [call for call in calls if call.outcome == "ok" and call.revision]
        told.sort(key=lambda call: call.returned_s)
        self._returned_s = [call.returned_s for call in told]
        self._floors = list(accumulate((call.revision for call in told), max))
        written = [call for call in told if call.verb in WRITES]
        written.sort(key=lambda call: call.invoked_s)
        self._invoked_s = [call.invoked_s for call in written]
        least = list(accumulate((call.revision for call in reversed(written)), min))
        self._ceilings = least[::-1]

    def floor(self, time_s: float) -> int:
        """What had been acknowledged before."""
        position = bisect_left(self._returned_s, time_s)
        return self._floors[position - 1] if position else 0

    def ceiling(self, time_s: float) -> float:
        """What was written by requests that began later was not there yet."""
        position = bisect_right(self._invoked_s, time_s)
        return self._ceilings[position] - 1 if position < len(self._ceilings) else float("inf")


def _failures(calls: Sequence[Call]) -> Iterator[str]:
    for call in calls:
        if call.outcome == "failed":
            yield f"{_named(call)} failed: {call.detail}"


def _attributed(calls: Sequence[Call], writes: Sequence[Write]) -> Iterator[str]:
    """Every value was written by the one call that may have written it, and once."""
    callers = {call.value: call for call in calls if call.verb in WRITES}
    seen: set[str] = set()
    for write in writes:
        if write.value is None:
            continue
        call = callers.get(write.value)
        if call is None:
            yield f"revision {write.revision}: nobody wrote {write.value}"
        elif call.outcome in ("refused", "failed"):
            yield f"revision {write.revision} is of {_named(call)}, which was {call.outcome}"
        if write.value in seen:
            yield f"revision {write.revision}: {write.value} was written twice"
        seen.add(write.value)


def _answered(call: Call, truth: Truth, bounds: Bounds) -> Iterator[str]:
    low, high = bounds.floor(call.invoked_s), bounds.ceiling(call.returned_s)
    if call.verb == "list":
        yield from _listed(call, truth, low, high)
    elif call.verb == "delete":
        if not any(w.value is None for w in truth.changes(call.name, low, high)):
            yield f"{_named(call)}: nothing was deleted between {low} and {high}"
    elif call.verb == "get":
        later = truth.changes(call.name, call.revision, low)
        if later:
            yield f"{_named(call)} is stale: {call.revision}, though {later[0]} was known"
        yield from _is_there(call, truth)
    else:
        if call.revision <= low:
            yield f"{_named(call)} is revision {call.revision}, but {low} had been told before"
        yield from _is_there(call, truth)
        yield from _in_place(call, truth)


def _is_there(call: Call, truth: Truth) -> Iterator[str]:
    write = truth.at(call.name, call.revision)
    if write is None or write.revision != call.revision or write.value != call.value:
        yield f"{_named(call)} told {call.value} at {call.revision}, the store has {write}"


def _in_place(call: Call, truth: Truth) -> Iterator[str]:
    """A write is made on what it was meant for."""
    before = truth.at(call.name, call.revision - 1)
    existed = before is not None and before.value is not None
    if existed == (call.verb == "create"):
        yield f"{_named(call)} at {call.revision} was made on {before}"
    if call.basis and (before is None or before.revision != call.basis):
        yield f"{_named(call)} insists on {call.basis}, but was made on {before}: a lost update"


def _listed(call: Call, truth: Truth, low: int, high: float) -> Iterator[str]:
    if call.revision < low:
        yield f"{_named(call)} is stale: {call.revision}, though {low} was known"
    if call.revision > high:
        yield f"{_named(call)} is of {call.revision}, which was not there before {high}"
    state = truth.state(call.revision)
    if call.found != state:
        wrong = sorted(set(call.found.items()) ^ set(state.items()))
        yield f"{_named(call)} at {call.revision} is no state of the store: {wrong[:4]}"


def _refused(call: Call, truth: Truth, bounds: Bounds) -> Iterator[str]:
    low, high = bounds.floor(call.invoked_s), bounds.ceiling(call.returned_s)
    states = truth.within(call.name, low, high)
    if call.detail == "NotFound" and all(states):
        yield f"{_named(call)} found nothing, but it was there from {low} to {high}"
    if call.detail == "AlreadyExists" and not any(states):
        yield f"{_named(call)} found something, but it was not there from {low} to {high}"
    if call.detail == "Conflict" and not truth.changes(call.name, call.basis, high):
        yield f"{_named(call)} met a conflict, but nothing has changed since {call.basis}"


def _followed(watched: Watched, truth: Truth) -> Iterator[str]:
    """Nothing missed, repeated, out of order or made up."""
    yield from watched.restarts
    last = watched.start
    for seen in watched.seen:
        if seen.revision <= last:
            yield f"{seen} came after revision {last}"
        last = max(last, seen.revision)
    expected = list(truth.events(watched.start, watched.reached))
    missed = sorted(set(expected) - set(watched.seen), key=lambda seen: seen.revision)
    invented = sorted(set(watched.seen) - set(expected), key=lambda seen: seen.revision)
    if missed:
        yield f"{len(missed)} events missed, first {missed[0]}"
    if invented:
        yield f"{len(invented)} events that never were, first {invented[0]}"


def _named(call: Call) -> str:
    where = f" at {call.server}" if call.server else ""
    return f"{call.verb} {call.name}{where} ({call.invoked_s:.3f} to {call.returned_s:.3f} s)"
