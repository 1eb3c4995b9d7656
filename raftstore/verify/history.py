"""What clients asked and were told, and when; and what members applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raftstore.types import Event, KeyValue, Op

Outcome = Literal["open", "ok", "unknown", "failed", "refused"]
State = dict[bytes, KeyValue]


@dataclass
class Call:
    """One request. `unknown` (and `open`): it may have been applied, once, at any later time.

    `failed`: surely not applied. `refused`: an answer too, that the request cannot be done.
    """

    client: int
    op: Op
    invoked_s: float
    returned_s: float = float("inf")
    outcome: Outcome = "open"
    result: Any = None
    serializable: bool = False


class Applied:
    """The one order of revisions. Members report what they apply; all must report the same."""

    def __init__(self) -> None:
        self.events: dict[int, list[Event]] = {}
        self.at_s: dict[int, float] = {}
        self.violations: list[str] = []

    @property
    def newest(self) -> int:
        return max(self.events, default=1)

    def add(self, member: str, revision: int, events: Sequence[Event], now_s: float) -> None:
        known = self.events.get(revision)
        mine = [event._replace(prev_kv=None) for event in events]
        if known is None:
            self.events[revision], self.at_s[revision] = mine, now_s
        elif known != mine:
            self.violations.append(f"{member} applied {mine} as {revision}, others {known}")

    def states(self) -> list[State]:
        """Keys as of every revision; the state of revision r is at position r."""
        states: list[State] = [{}, {}]
        for revision in range(2, self.newest + 1):
            state = dict(states[-1])
            advance(state, self.events.get(revision, ()))
            states.append(state)
        return states


def advance(state: State, events: Sequence[Event]) -> None:
    """What the events make of the state."""
    for event in events:
        if event.type == "put":
            state[event.kv.key] = event.kv
        else:
            state.pop(event.kv.key, None)
