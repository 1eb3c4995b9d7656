"""What clients asked and were told, and when; and what members applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raftstore.types import Event, KeyValue

Outcome = Literal["open", "ok", "unknown", "failed"]


@dataclass
class Call:
    """One request. `unknown` (and `open`): it may have been applied, once, at any later time."""

    client: int
    kind: Literal["put", "delete", "cas", "range"]
    key: bytes
    value: bytes
    expected_revision: int
    invoked_s: float
    returned_s: float = float("inf")
    outcome: Outcome = "open"
    result: Any = None


class Applied:
    """The one order of revisions. Members report what they apply; all must report the same."""

    def __init__(self) -> None:
        self.events: dict[int, list[Event]] = {}
        self.at_s: dict[int, float] = {}
        self.violations: list[str] = []

    def add(self, member: str, revision: int, events: Sequence[Event], now_s: float) -> None:
        known = self.events.get(revision)
        mine = [event._replace(prev_kv=None) for event in events]
        if known is None:
            self.events[revision], self.at_s[revision] = mine, now_s
        elif known != mine:
            self.violations.append(f"{member} applied {mine} as {revision}, others {known}")

    def state_at(self, revision: int) -> dict[bytes, KeyValue]:
        """Keys as of a revision."""
        state: dict[bytes, KeyValue] = {}
        for number in sorted(self.events):
            if number > revision:
                break
            for event in self.events[number]:
                if event.type == "put":
                    state[event.kv.key] = event.kv
                else:
                    state.pop(event.kv.key, None)
        return state
