"""How a member comes to know who it is: from its folder, its config, or the store it joins."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from actors.seams import Seams
from raftstore.raft import folder
from raftstore.raft.folder import Beginning, Identity
from raftstore.raft.transport import PeerTransport

WAITING_S = 10.0
_logger = logging.getLogger(__name__)


class Entrance:
    """Sets the identity of a transport. `head`: of a snapshot of the empty state."""

    def __init__(
        self, seams: Seams, path: str, beginning: Beginning, transport: PeerTransport, head: Any
    ) -> None:
        self._seams, self._path, self._beginning = seams, path, beginning
        self._transport, self._head = transport, head
        self._incarnation = seams.randomness.getrandbits(62) + 1
        self._news = asyncio.Event()
        self._failure: OSError | None = None

    def open(self) -> None:
        """Look into the folder, or found the store. Raises CorruptLog, OSError."""
        found = folder.begin(
            self._seams.disk, self._path, self._beginning, self._head, self._incarnation
        )
        if found is not None:
            self._identify(found)

    async def wait(self) -> Identity:
        """Until a member of the store dials this one and calls it by its id. Raises OSError."""
        while self._transport.identity is None:
            _logger.warning(
                "%s waits for the store's members to call it: has it been added to them?",
                self._beginning.name,
            )
            timer = self._seams.clock.call_later(WAITING_S, self._news.set)
            try:
                await self._news.wait()
            finally:
                timer.cancel()
            self._news.clear()
            if self._failure is not None:
                raise self._failure
        return self._transport.identity

    def adopt(self, cluster: int, member: int) -> None:
        """A member of `cluster` calls this one `member`; a failing disk is told to who waits."""
        adopted = Identity(cluster, member, self._incarnation)
        try:
            folder.write(self._seams.disk, self._path, adopted)
            self._identify(adopted)
        except OSError as error:
            self._failure = error
        self._news.set()

    def _identify(self, found: Identity) -> None:
        self._transport.identity = found
        self._transport.me = replace(self._transport.me, incarnation=found.incarnation)
