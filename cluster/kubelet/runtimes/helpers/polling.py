"""A small loop over descriptors: one callback each."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable

Callback = Callable[[int], None]
"""Told which poll events there are."""


class Poller:
    def __init__(self) -> None:
        self._poll = select.poll()
        self._callbacks: dict[int, Callback] = {}

    def watch(self, descriptor: int, events: int, callback: Callback) -> None:
        """A second call changes what the first one said."""
        self._callbacks[descriptor] = callback
        self._poll.register(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        if self._callbacks.pop(descriptor, None) is not None:
            with contextlib.suppress(KeyError):
                self._poll.unregister(descriptor)

    def run_once(self, timeout_ms: float | None = None) -> bool:
        """Wait for events and handle them; whether there were any."""
        events = self._poll.poll(timeout_ms)
        for descriptor, found in events:
            callback = self._callbacks.get(descriptor)
            if callback is not None:  # one before it may have ended this one
                callback(found)
        return bool(events)
