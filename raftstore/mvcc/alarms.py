"""Alarms: what every member refuses until an administrator has seen to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from raftstore.errors import Corrupt, InvalidRequest, NoSpace
from raftstore.mvcc.requests import grows
from raftstore.types import Alarm, AlarmKind

KINDS: tuple[str, ...] = get_args(AlarmKind)


class Alarms:
    """Which members raised what."""

    def __init__(self) -> None:
        self._raised: set[Alarm] = set()

    def raise_one(self, alarm: Alarm) -> None:
        self._raised.add(alarm)

    def clear(self, alarm: Alarm) -> None:
        self._raised.discard(alarm)

    def all(self) -> list[Alarm]:
        return sorted(self._raised)

    def check(self, operation: Sequence[Any]) -> None:
        """Raises NoSpace for an operation that grows the store, Corrupt for any."""
        if not self._raised:
            return
        kinds = {alarm.kind for alarm in self._raised}
        if "corrupt" in kinds:
            raise Corrupt("the members' data differ: replace the member that is wrong")
        if "nospace" in kinds and grows(operation):
            raise NoSpace("the quota is used up: compact or delete, then clear the alarm")

    def load(self, dumped: Iterable[Any]) -> None:
        self._raised = {alarm(*fields) for fields in dumped}


def alarm(member_id: Any, kind: Any) -> Alarm:
    """Raises InvalidRequest."""
    if kind not in KINDS or not isinstance(member_id, int):
        raise InvalidRequest(f"no such alarm: {kind!r} of member {member_id!r}")
    return Alarm(member_id, kind)
