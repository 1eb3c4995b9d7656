"""The rules of Raft as pure functions: what to do with a message, never doing it.

References are to "In Search of an Understandable Consensus Algorithm (Extended Version)",
figure 2 unless said otherwise, and to Ongaro's thesis.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

Entry = tuple[bytes, int, int]
"""A log entry: (command, index, term)."""


class Log(Protocol):
    """The part of a log that rules look at. `first_index` is the oldest whose term is known."""

    @property
    def first_index(self) -> int: ...

    @property
    def last_index(self) -> int: ...

    def term_at(self, index: int) -> int: ...


class SafetyViolation(BaseException):
    """What Raft proves impossible was observed: this member must stop, not go on and hope."""


class Position(NamedTuple):
    """Where a log ends; positions compare as "at least as up-to-date" does (section 5.4.1)."""

    term: int
    index: int  # type: ignore[assignment]  # Raft's name; tuple.index is not used


class AppendDecision(NamedTuple):
    """What a follower does with AppendEntries of the current term.

    `match_index`: up to where its log now surely equals the leader's; if not `accepted`, instead
    the index after which the leader should try again.
    """

    accepted: bool
    match_index: int
    commit_index: int
    truncate_from: int | None = None
    new_entries: Sequence[Entry] = ()


def decide_append(
    log: Log,
    commit_index: int,
    previous: Position,
    entries: Sequence[Entry],
    leader_commit: int,
) -> AppendDecision:
    """AppendEntries, receiver steps 2 to 5. Raises SafetyViolation."""
    if previous.index > log.last_index:
        return AppendDecision(False, log.last_index, commit_index)
    entries, previous = _beyond_first(log, previous, entries)
    if log.term_at(previous.index) != previous.term:
        return AppendDecision(False, _retry_after(log, commit_index, previous), commit_index)
    new = _skip_present(log, entries)
    truncate_from = new[0][1] if new and new[0][1] <= log.last_index else None
    if truncate_from is not None and truncate_from <= commit_index:
        raise SafetyViolation(f"entry {truncate_from} is committed and the leader differs")
    last_new = entries[-1][1] if entries else previous.index
    commit_index = max(commit_index, min(leader_commit, last_new))
    return AppendDecision(True, last_new, commit_index, truncate_from, new)


def _beyond_first(
    log: Log, previous: Position, entries: Sequence[Entry]
) -> tuple[Sequence[Entry], Position]:
    """Leave out what is older than the log: it is covered by a snapshot, hence committed."""
    if previous.index >= log.first_index:
        return entries, previous
    first = Position(log.term_at(log.first_index), log.first_index)
    return [entry for entry in entries if entry[1] > first.index], first


def _retry_after(log: Log, commit_index: int, previous: Position) -> int:
    """Skip the whole conflicting term at once (end of section 5.3)."""
    if previous.index <= commit_index:
        raise SafetyViolation(f"entry {previous.index} is committed and the leader differs")
    index, conflicting = previous.index, log.term_at(previous.index)
    while index > max(commit_index, log.first_index) and log.term_at(index) == conflicting:
        index -= 1
    return index


def _skip_present(log: Log, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Only a *conflict* truncates: an old or repeated message must not undo newer entries."""
    for position, (_, index, term) in enumerate(entries):
        if index > log.last_index or log.term_at(index) != term:
            return entries[position:]
    return ()


def grants_vote(voted_for: str | None, candidate: str, own: Position, theirs: Position) -> bool:
    """RequestVote of the current term: one vote per term, only for an up-to-date log."""
    return voted_for in (None, candidate) and theirs >= own


def grants_pre_vote(
    current_term: int, term: int, own: Position, theirs: Position, leader_is_alive: bool
) -> bool:
    """Whether an election for `term` could win this vote (thesis section 9.6)."""
    return term > current_term and theirs >= own and not leader_is_alive


def quorum(members: int) -> int:
    """How many of `members` are a majority."""
    return members // 2 + 1


def is_quorum(agreeing: Collection[str], members: Collection[str]) -> bool:
    """A majority of distinct current members agrees."""
    return len(set(agreeing) & set(members)) >= quorum(len(members))


def committed_index(
    match_indexes: Iterable[int],
    commit_index: int,
    current_term: int,
    term_at: Callable[[int], int],
) -> int:
    """The highest index on a majority; only entries of the own term count (section 5.4.2).

    `match_indexes` has one durable index per member, the leader's own included.
    """
    ordered = sorted(match_indexes, reverse=True)
    candidate = ordered[quorum(len(ordered)) - 1]
    if candidate > commit_index and term_at(candidate) == current_term:
        return candidate
    return commit_index
