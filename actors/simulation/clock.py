"""Clocks of simulated machines: each with its own rate and its own idea of the wall time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from actors.seams.clock import TimerHandle
from actors.simulation.loop import VirtualLoop
from actors.simulation.process import Process
from actors.simulation.trace import Trace

EPOCH_S = 1_700_000_000.0


class MachineClock:
    """`rate`: seconds that it counts in one true second. It never goes back."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._base_s, self._origin_s = 1000.0, loop.time()
        self.rate = 1.0
        self.wall_offset_s = 0.0

    def now(self) -> float:
        return self._base_s + (self._loop.time() - self._origin_s) * self.rate

    def wall(self) -> float:
        return EPOCH_S + self._loop.time() + self.wall_offset_s

    def drift(self, rate: float) -> None:
        self._base_s, self._origin_s = self.now(), self._loop.time()
        self.rate = rate

    def jump(self, offset_s: float) -> None:
        """Only the wall clock can jump."""
        self.wall_offset_s += offset_s


class SimulatedClock:
    """The clock seam of one process: its timers end with it and wait while it is paused."""

    def __init__(
        self, loop: VirtualLoop, machine: MachineClock, process: Process, trace: Trace
    ) -> None:
        self._loop, self._machine, self._process = loop, machine, process
        self._trace = trace

    def now(self) -> float:
        return self._machine.now()

    def wall(self) -> float:
        return self._machine.wall()

    async def sleep(self, delay_s: float) -> None:
        future = self._loop.create_future()
        timer = self.call_later(delay_s, _wake, future)
        try:
            await future
        finally:
            timer.cancel()

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> TimerHandle:
        delay_s = max(0.0, delay_s) / self._machine.rate
        return self._loop.call_later(delay_s, self._process.run, self._fire, callback, args)

    def _fire(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._trace.add(self._loop.time(), "timer", self._process.host)
        callback(*args)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
