"""What the consensus object and its surroundings tell one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from raftstore.raft.membership import Configuration

Message = dict[str, Any]


class Outcome(Enum):
    """What became of a proposal."""

    APPLIED = "applied"
    REFUSED = "refused"
    """It is not in the log and never will be."""
    UNKNOWN = "unknown"
    """It is in a log, but this member can no longer follow what becomes of it."""


Callback = Callable[[Outcome, Any], None]


@dataclass(frozen=True)
class Timing:
    """Seconds. An election starts after a random time in `election_timeout_s`."""

    election_timeout_s: tuple[float, float] = (0.8, 1.6)
    heartbeat_s: float = 0.1


class Owner(Protocol):
    """What surrounds the consensus object."""

    def post(self, peer: str, message: Message) -> bool:
        """Send now if the link has room; whether it did."""
        ...

    def post_when_durable(self, peer: str, message: Message) -> None:
        """Send after the next sync of the log."""
        ...

    def apply(self, index: int, command: bytes) -> Any: ...

    def leadership_changed(self) -> None: ...

    def other_message(self, peer: str, message: Message) -> None: ...

    def send_snapshot(self, peer: str) -> None: ...

    def configuration_changed(self) -> None:
        """Other members count from now on (which may be undone: it is not committed)."""
        ...

    def configuration_applied(self, configuration: Configuration) -> None:
        """This configuration is committed."""
        ...
