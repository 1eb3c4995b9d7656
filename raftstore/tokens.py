"""What a user shows instead of a password: signed, so that every member can verify it alone.

A token names the user, the auth revision it was given at and when it ends. The key is part of the
replicated auth state, so tokens outlive a leader and end when authentication is disabled.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import NamedTuple

import msgpack

from raftstore.errors import InvalidAuthToken

TTL_S = 300
SECRET_BYTES = 32
_SIGNATURE_BYTES = 32


class Token(NamedTuple):
    """`expires_s`: seconds of the wall clock."""

    user: str
    revision: int
    expires_s: int


def sign(token: Token, secret: bytes) -> str:
    payload: bytes = msgpack.packb(token)
    return base64.urlsafe_b64encode(_signature(payload, secret) + payload).decode()


def verify(text: str, secret: bytes, now_s: float) -> Token:
    """Raises InvalidAuthToken for any but a token of ours whose time is not up."""
    try:
        signed = base64.urlsafe_b64decode(text)
    except (binascii.Error, ValueError):
        raise InvalidAuthToken("not a token") from None
    signature, payload = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
    if not secret or not hmac.compare_digest(signature, _signature(payload, secret)):
        raise InvalidAuthToken("not a token of this store")
    token = Token(*msgpack.unpackb(payload))
    if token.expires_s < now_s:
        raise InvalidAuthToken("the token's time is up")
    return token


def _signature(payload: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, payload, hashlib.sha256)
