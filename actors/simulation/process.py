"""One life of a program on a simulated machine: killed, it does nothing any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Process:
    """All timers and messages of a program reach it through `run`."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.alive = True
        self.paused = False
        self._deferred: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def run(self, callback: Callable[..., Any], *args: Any) -> None:
        """Now; later if it is paused; never if it is dead."""
        if not self.alive:
            return
        if self.paused:
            self._deferred.append((callback, args))
        else:
            callback(*args)

    def pause(self) -> None:
        """As SIGSTOP does: time goes on for others, and for its clock."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        deferred, self._deferred = self._deferred, []
        for callback, args in deferred:
            self.run(callback, *args)

    def kill(self) -> None:
        self.alive, self._deferred = False, []
