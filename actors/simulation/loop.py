"""An asyncio event loop whose time jumps to the next timer: no waiting, no I/O, one order."""

from __future__ import annotations

import asyncio
from typing import Any

RESOLUTION_S = 1e-9


class Deadlock(RuntimeError):
    """Nothing is ready, and no timer will ever change that."""


class _Idle:
    """Where another loop waits for sockets, this one lets virtual time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout_s: float | None) -> list[Any]:
        if timeout_s is None:
            raise Deadlock("nothing is ready and no timer is set")
        self._loop.pass_time(timeout_s)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs ready callbacks first in, first out, and timers in order of their time."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._selector = _Idle(self)
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        return self._now_s

    def pass_time(self, duration_s: float) -> None:
        self._now_s += duration_s

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nothing sleeps that would have to be woken."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        raise RuntimeError("threads are not deterministic")
