"""Hashes of passwords, made before they are replicated: the salt is random."""

from __future__ import annotations

import hashlib
import hmac

_LOG2_N, _R, _P = 14, 8, 1
"""scrypt's costs (RFC 7914): 16 MiB and some 40 ms."""
SALT_BYTES = 16


def hash_password(password: str, salt: bytes) -> bytes:
    """`salt` of SALT_BYTES random bytes comes first in the result."""
    return salt + _scrypt(password, salt)


def matches(password: str, hashed: bytes) -> bool:
    """Whether `password` was hashed to this; a user without password never matches."""
    salt, expected = hashed[:SALT_BYTES], hashed[SALT_BYTES:]
    return bool(expected) and hmac.compare_digest(_scrypt(password, salt), expected)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << _LOG2_N, r=_R, p=_P)
