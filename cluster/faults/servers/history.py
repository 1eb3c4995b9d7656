"""What clients of several API servers asked and were told, and when; and what was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Outcome = Literal["open", "ok", "refused", "unknown", "failed"]
WRITES = frozenset({"create", "update", "patch", "delete"})


class Write(NamedTuple):
    """One revision of the store, as the store itself tells; `value` None is a deletion."""

    revision: int
    name: str
    value: str | None


class Seen(NamedTuple):
    """One event of a watch."""

    type: str
    name: str
    revision: int
    value: str


@dataclass
class Call:
    """One request. `unknown` (and `open`): it may have been applied, once, at any later time.

    `refused`: the answer is that it cannot be done (`detail`: the reason). `failed`: it should
    have been answered, for servers were there. `basis`: the revision that an update insists on.
    """

    verb: str
    name: str
    invoked_s: float
    value: str = ""
    basis: int = 0
    server: str = ""
    returned_s: float = float("inf")
    outcome: Outcome = "open"
    detail: str = ""
    revision: int = 0
    """Of the object that was written or read, or of the list."""
    found: dict[str, int] = field(default_factory=dict)
    """What a list holds: revisions by name."""


@dataclass
class Watched:
    """One client that follows everything after `start`, over as many streams as it takes."""

    start: int
    seen: list[Seen] = field(default_factory=list)
    marked: int = 0
    """The revision of the last bookmark."""
    streams: int = 0
    restarts: list[str] = field(default_factory=list)
    """Why it had to list anew, which no fault here is a reason for."""

    @property
    def reached(self) -> int:
        last = self.seen[-1].revision if self.seen else self.start
        return max(last, self.marked)
