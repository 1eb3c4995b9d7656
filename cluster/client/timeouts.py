"""Timeouts that follow the clock seam instead of the event loop's own clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from actors.seams import Clock


@contextlib.asynccontextmanager
async def timeout(clock: Clock, delay_s: float) -> AsyncIterator[None]:
    """Cancel the body after `delay_s` of `clock`. Raises `TimeoutError` then."""
    async with asyncio.timeout(None) as scope:
        timer = clock.call_later(delay_s, scope.reschedule, 0.0)
        try:
            yield
        finally:
            timer.cancel()


class IdleTimeout:
    """Cancels the body once `touch` was not called for `idle_s` of `clock`, and raises
    `TimeoutError` then. A touch costs a look at the clock, no timer."""

    def __init__(self, clock: Clock, idle_s: float) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._scope = asyncio.timeout(None)

    def touch(self) -> None:
        self._touched_s = self._clock.now()

    async def __aenter__(self) -> IdleTimeout:
        await self._scope.__aenter__()
        self.touch()
        self._timer = self._clock.call_later(self._idle_s, self._look)
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._timer.cancel()
        await self._scope.__aexit__(*error)

    def _look(self) -> None:
        left_s = self._touched_s + self._idle_s - self._clock.now()
        if left_s > 0:
            self._timer = self._clock.call_later(left_s, self._look)
        else:
            self._scope.reschedule(0.0)
