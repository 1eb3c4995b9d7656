"""The members of one store as one member keeps them: changes in turn, links, what they tell."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable

from raftstore.errors import (
    LearnerNotReady,
    NotEnoughStarted,
    StoreError,
    Unavailable,
    UnhealthyCluster,
)
from raftstore.raft.interface import Callback, Outcome
from raftstore.raft.membership import Configuration
from raftstore.raft.pysync import SafeSyncObj
from raftstore.raft.transport import PeerTransport

MAX_WAITING = 64
Change = Callable[[Configuration], Configuration]
_logger = logging.getLogger(__name__)


class Roster:
    """`turn` is called after each tick; the rest notes what is to be done then."""

    def __init__(self, transport: PeerTransport, key: str) -> None:
        self._transport, self._key = transport, key
        self._waiting: deque[tuple[Change, Callback]] = deque()
        self._unpublished = True
        self._relink = True
        self._joining: list[str] = []
        self.is_removed = False
        """That this member was removed is committed."""

    def change(self, change: Change, callback: Callback) -> None:
        """When those before it are done. The callback gets the error that refuses it, if any.

        Raises Unavailable if too many wait.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many changes of the members are under way")
        self._waiting.append((change, callback))

    def abandon(self) -> None:
        """This member does not lead: none of the changes that wait happened."""
        waiting, self._waiting = self._waiting, deque()
        for _, callback in waiting:
            callback(Outcome.REFUSED, None)

    def changed(self) -> None:
        """Other members count from now on."""
        self._relink = True

    def applied(self, configuration: Configuration) -> None:
        """A configuration is committed."""
        self.is_removed = self._key in configuration.removed
        self._relink = self._unpublished = True

    def introduced(self) -> None:
        """A member told of itself, or another one leads."""
        self._unpublished = True

    def turn(self, raft: SafeSyncObj) -> None:
        while self._waiting and raft.can_change:
            change, callback = self._waiting.popleft()
            try:
                raft.change_members(change, callback)
            except StoreError as error:
                callback(Outcome.REFUSED, error)
        if self._unpublished and raft.can_change:
            self._publish(raft)
        if self._joining and raft.can_change:
            self._admit(raft)
        if self._relink:
            self._follow(raft)

    def _publish(self, raft: SafeSyncObj) -> None:
        """Have the configuration say what members tell of themselves."""
        self._unpublished = False
        told = {**self._transport.known, self._key: self._transport.me}
        published = raft.configuration.publishing(told)
        if published != raft.configuration:
            try:
                raft.change_members(lambda _: published, lambda outcome, result: None)
            except StoreError as error:
                _logger.warning("what members tell of themselves has to wait: %s", error)

    def _admit(self, raft: SafeSyncObj) -> None:
        """Have those vote that were added as voters, once they have caught up."""
        started = (key for key in self._joining if key in self._transport.known)
        key = next(started, None)
        if key is not None:
            admitted = raft.configuration.admitting(key)
            with contextlib.suppress(LearnerNotReady, NotEnoughStarted, UnhealthyCluster):
                raft.change_members(lambda _: admitted, lambda outcome, result: None)

    def _follow(self, raft: SafeSyncObj) -> None:
        """Who joins is dialled at once, who leaves is dropped once that is committed."""
        self._relink = False
        self._joining = raft.configuration.joining
        committed = raft.configuration_at(raft.applied_index)
        members = {**committed.members, **raft.members}
        self._transport.follow(members, committed.removed)
