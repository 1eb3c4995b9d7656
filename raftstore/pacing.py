"""Answers are made no faster than their client takes them: an answer not made costs no memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

MAX_MADE_BYTES = 4 << 20
"""In one turn of the loop; only then is it known whether the client takes it."""


class Pace:
    """Runs what makes the answers of one connection, in order."""

    def __init__(self, takes: Callable[[], bool]) -> None:
        """`takes`: whether the client takes what is sent."""
        self._takes = takes
        self._owed: deque[Callable[[], None]] = deque()
        self._made_bytes = 0
        self._scheduled = False

    def run(self, work: Callable[[], None]) -> None:
        """At once, or when the client has taken what was made before."""
        if self._owed or self._made_bytes > MAX_MADE_BYTES or not self._takes():
            self._owed.append(work)
            self._go_on_soon()
        else:
            work()

    def made(self, size_bytes: int) -> None:
        """To be told of every answer."""
        self._made_bytes += size_bytes

    def go_on(self) -> None:
        """To be called when the client takes answers again."""
        self._scheduled = False
        self._made_bytes = 0
        while self._owed and self._made_bytes <= MAX_MADE_BYTES and self._takes():
            self._owed.popleft()()
        if self._owed and self._takes():
            self._go_on_soon()

    def forget(self) -> None:
        """The client is gone."""
        self._owed.clear()

    def _go_on_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.go_on)
