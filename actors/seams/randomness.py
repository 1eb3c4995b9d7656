"""The randomness seam: one generator per component, so a seed replays its choices."""

from __future__ import annotations

import random

Randomness = random.Random
"""The interface is `random.Random`: `random`, `uniform`, `choice`, `randbytes`, `shuffle`, ..."""


def system_randomness() -> Randomness:
    """Entropy of the operating system; fit for keys, tokens and uids too."""
    return random.SystemRandom()


def seeded_randomness(seed: int | str) -> Randomness:
    """The same numbers for the same seed, whatever PYTHONHASHSEED is."""
    return random.Random(str(seed))
