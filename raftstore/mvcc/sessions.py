"""Exactly-once: what each client's recent requests were answered, as replicated state.

A client opens a session, numbers its writes, and tells with each the lowest number whose answer
it still lacks (`acknowledged` is everything below). A retry finds its recorded answer instead of
being executed again (Ongaro's thesis, section 6.3). Both dimensions are bounded; what had to be
forgotten is refused as SessionExpired, never executed twice.
"""

from __future__ import annotations

from typing import Any

from raftstore.errors import SessionExpired

MAX_SESSIONS = 4096
MAX_ANSWERS = 4096
"""Per session; clients keep far fewer requests in flight."""


class Session:
    """Answers by sequence number, of those at or above `floor`."""

    __slots__ = ("answers", "floor")

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        self.answers: dict[int, bytes] = {}

    def acknowledge(self, floor: int) -> None:
        """Forget answers that the client has received. Costs what it forgets."""
        if floor <= self.floor:
            return
        if floor - self.floor <= len(self.answers):
            for sequence in range(self.floor, floor):
                self.answers.pop(sequence, None)
        else:
            self.answers = {s: a for s, a in self.answers.items() if s >= floor}
        self.floor = floor

    def record(self, sequence: int, answer: bytes) -> None:
        self.answers[sequence] = answer
        if len(self.answers) > MAX_ANSWERS:
            self.acknowledge(min(self.answers) + 1)


class Sessions:
    """Open sessions, the least recently used first."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, client: int) -> None:
        """Idempotent, so it may be retried. Evicts the least recently used beyond the bound."""
        self._sessions[client] = self._sessions.pop(client, Session())
        if len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def close(self, client: int) -> None:
        self._sessions.pop(client, None)

    def enter(self, client: int, sequence: int, acknowledged: int) -> Session:
        """The session, for a request numbered `sequence`. Raises SessionExpired."""
        session = self._sessions.pop(client, None)
        if session is None:
            raise SessionExpired("session was closed or evicted")
        self._sessions[client] = session
        session.acknowledge(acknowledged)
        if sequence < session.floor:
            raise SessionExpired("the answer to this request is not kept any more")
        return session

    def dump(self) -> list[Any]:
        return [[c, s.floor, list(map(list, s.answers.items()))] for c, s in self._sessions.items()]

    def load(self, dumped: list[Any]) -> None:
        self._sessions = {}
        for client, floor, answers in dumped:
            session = self._sessions[client] = Session(floor)
            session.answers = {sequence: answer for sequence, answer in answers}
