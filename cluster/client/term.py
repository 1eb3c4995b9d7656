"""A term of leadership: what a leader's writes depend on, here and at the servers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from actors.seams.clock import Clock
from cluster.client.errors import Unreachable
from cluster.machinery.fencing import Fence


class TermOver(Unreachable):
    """The write was not sent, since somebody else may lead by now."""


class Term:
    """`surely_until_s` is moved by whoever renews the lease, counted from before the renewal was
    sent: as others wait for longer than that from when they see it, nobody else leads until then.

    Servers that know fences refuse what arrives after the term, too: what was on its way when
    this process was paused, say.
    """

    def __init__(self, clock: Clock, fence: Fence | None, surely_until_s: float) -> None:
        self._clock, self.surely_until_s = clock, surely_until_s
        self._fence = fence
        self.header = "" if fence is None else str(fence)

    def is_of(self, lease: Mapping[str, Any]) -> bool:
        """Whether the term goes on by this Lease."""
        return self._fence is not None and Fence.of(lease) == self._fence

    @property
    def is_over(self) -> bool:
        return self._clock.now() >= self.surely_until_s

    def end(self) -> None:
        self.surely_until_s = -math.inf

    def check(self) -> None:
        """Raises TermOver."""
        if self.is_over:
            raise TermOver("the lease was not renewed in time: somebody else may lead")
