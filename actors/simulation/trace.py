"""What happened in a simulation, as one hash: two runs are the same if it is."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

KEPT_LINES = 200


class Trace:
    """Hashes every event in order; the last ones are kept for reports."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.events = 0
        self.last: deque[str] = deque(maxlen=KEPT_LINES)

    def add(self, now_s: float, what: str, *facts: Any) -> None:
        line = f"{now_s:.6f} {what} {' '.join(map(str, facts))}"
        self._hash.update(line.encode())
        self.last.append(line)
        self.events += 1

    def digest(self) -> str:
        return self._hash.hexdigest()
