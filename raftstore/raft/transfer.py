"""A handover of leadership that is under way (thesis 3.10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Transfer:
    """To `target`, given up at `deadline_s`; `done` hears, once, whether it leads now."""

    target: str
    deadline_s: float
    done: Callable[[bool], None]
    asked_s: float = float("-inf")

    def asks(self, now_s: float, again_after_s: float) -> bool:
        """Whether to ask the target to campaign now: the question before may have been lost."""
        if now_s - self.asked_s < again_after_s:
            return False
        self.asked_s = now_s
        return True
