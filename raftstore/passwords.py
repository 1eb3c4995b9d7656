"""Hashes of passwords, made before they are replicated: the salt is random.

bcrypt, and of the form that etcd keeps, so that users survive the way from one to the other.
"""

from __future__ import annotations

import bcrypt

COST = 10
"""2 to the 10th rounds, some 50 ms: etcd's `--bcrypt-cost`."""
_MAX_BYTES = 72
"""bcrypt looks at no more of a password."""


def hash_password(password: str) -> bytes:
    return bcrypt.hashpw(_cut(password), bcrypt.gensalt(COST, prefix=b"2a"))


def matches(password: str, hashed: bytes) -> bool:
    """Whether `password` was hashed to this; a user without password never matches."""
    try:
        return bool(hashed) and bcrypt.checkpw(_cut(password), hashed)
    except ValueError:  # no hash: from a damaged backup
        return False


def _cut(password: str) -> bytes:
    return password.encode()[:_MAX_BYTES]
