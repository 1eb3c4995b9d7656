"""Exponential back-off with jitter (the formula of client-go's wait.Backoff)."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.seams import Randomness


@dataclass
class Backoff:
    """Grows from `first_s` by `factor` up to `limit_s`; `reset` after a success."""

    randomness: Randomness
    first_s: float = 0.1
    limit_s: float = 5.0
    factor: float = 2.0
    jitter: float = 0.5
    _next_s: float = field(default=0.0, init=False)

    def next_s(self) -> float:
        """The next delay: the base times 1 to 1 + jitter."""
        base_s = self._next_s or self.first_s
        self._next_s = min(base_s * self.factor, self.limit_s)
        return base_s * (1 + self.jitter * self.randomness.random())

    def reset(self) -> None:
        self._next_s = 0.0
