"""Timeouts that follow the clock seam instead of the event loop's own clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

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
