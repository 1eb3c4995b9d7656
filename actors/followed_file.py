"""A file that may change while a process runs: looked at again and again, used when it is good.

A file that cannot be used changes nothing: what was read before stays in use, and `problem` says
what is wrong with the new one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from actors.seams.clock import Clock

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
Use = Callable[[bytes], Awaitable[None]]
"""Takes the new text into use. Raises ValueError, LookupError or TypeError for a bad one."""


class FollowedFile:
    """`run` until cancelled. The text that is there now is taken to be in use."""

    def __init__(self, path: str, clock: Clock, use: Use, interval_s: float = INTERVAL_S) -> None:
        self._path, self._clock, self._use = Path(path), clock, use
        self._interval_s = interval_s
        self._known = self._path.read_bytes()
        self.problem = ""

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._interval_s)
            await self.look()

    async def look(self) -> None:
        """Take a text that is new into use."""
        try:
            text = self._path.read_bytes()
            if text != self._known:
                await self._use(text)
                log.info("%s has been read anew", self._path)
        except (OSError, ValueError, LookupError, TypeError) as error:
            if str(error) != self.problem:
                log.error("%s is not used: %s", self._path, error)
            self.problem = str(error) or type(error).__name__
            return
        self._known, self.problem = text, ""
