"""What the server makes up: uids, and the five letters that make a wanted name a new one."""

from __future__ import annotations

import uuid

from actors.seams import Seams

SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Upstream's alphabet: no vowels, so no words."""


def name_suffix(seams: Seams) -> str:
    """Five letters. One draw: each asks the system for randomness."""
    base = len(SUFFIX_LETTERS)
    drawn, suffix = seams.randomness.randrange(base**5), ""
    for _ in range(5):
        drawn, letter = divmod(drawn, base)
        suffix += SUFFIX_LETTERS[letter]
    return suffix


def new_uid(seams: Seams) -> str:
    return str(uuid.UUID(int=seams.randomness.getrandbits(128), version=4))
