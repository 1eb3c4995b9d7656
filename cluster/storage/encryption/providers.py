"""Ciphers by upstream's names and in its formats: k8s:enc:NAME:v1:KEY: and then the bytes.

So a store can move between a kube-apiserver and this server with its keys. Every value is bound
to its key in the store where the cipher can do that (aesgcm): it means nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import nacl.secret
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.exceptions import CryptoError

START = b"k8s:enc:"
NONCE_BYTES, BLOCK_BYTES = 12, 16
KEY_BYTES = (16, 24, 32)
KINDS = ("aesgcm", "aescbc", "secretbox", "identity", "kms")
RandomBytes = Callable[[int], bytes]


class Undecryptable(Exception):
    """The value is not of this key, or not as it was written."""


class Provider(Protocol):
    """`prefix` starts every value that it has written; b"" writes plain ones."""

    @property
    def prefix(self) -> bytes: ...

    def seal(self, key: bytes, plain: bytes) -> bytes: ...

    def open(self, key: bytes, sealed: bytes) -> bytes: ...


class Identity:
    """No encryption at all."""

    prefix = b""

    def seal(self, key: bytes, plain: bytes) -> bytes:
        return plain

    def open(self, key: bytes, sealed: bytes) -> bytes:
        return sealed


@dataclass(frozen=True)
class AesGcm:
    """Authenticated; a fresh random nonce for each value.

    With random nonces a key should be changed before 2^32 values (NIST SP 800-38D, 8.3).
    """

    prefix: bytes
    cipher: AESGCM
    random: RandomBytes

    def seal(self, key: bytes, plain: bytes) -> bytes:
        nonce = self.random(NONCE_BYTES)
        return self.prefix + nonce + self.cipher.encrypt(nonce, plain, key)

    def open(self, key: bytes, sealed: bytes) -> bytes:
        body = sealed[len(self.prefix) :]
        try:
            return self.cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], key)
        except (InvalidTag, ValueError) as error:
            raise Undecryptable("the value is not what the key has written here") from error


@dataclass(frozen=True)
class AesCbc:
    """As upstream: not authenticated, kept for stores that were written so."""

    prefix: bytes
    secret: bytes
    random: RandomBytes

    def seal(self, key: bytes, plain: bytes) -> bytes:
        start = self.random(BLOCK_BYTES)
        padder = padding.PKCS7(8 * BLOCK_BYTES).padder()
        encryptor = Cipher(algorithms.AES(self.secret), modes.CBC(start)).encryptor()
        padded = padder.update(plain) + padder.finalize()
        return self.prefix + start + encryptor.update(padded) + encryptor.finalize()

    def open(self, key: bytes, sealed: bytes) -> bytes:
        body = sealed[len(self.prefix) :]
        start, rest = body[:BLOCK_BYTES], body[BLOCK_BYTES:]
        try:
            decryptor = Cipher(algorithms.AES(self.secret), modes.CBC(start)).decryptor()
            unpadder = padding.PKCS7(8 * BLOCK_BYTES).unpadder()
            padded = decryptor.update(rest) + decryptor.finalize()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError as error:
            raise Undecryptable("the value is not what the key has written here") from error


@dataclass(frozen=True)
class SecretBox:
    """NaCl's XSalsa20 and Poly1305. Nonces are long enough to be random for ever."""

    prefix: bytes
    box: nacl.secret.SecretBox
    random: RandomBytes

    def seal(self, key: bytes, plain: bytes) -> bytes:
        return self.prefix + bytes(self.box.encrypt(plain, self.random(self.box.NONCE_SIZE)))

    def open(self, key: bytes, sealed: bytes) -> bytes:
        try:
            return bytes(self.box.decrypt(sealed[len(self.prefix) :]))
        except (CryptoError, ValueError) as error:
            raise Undecryptable("the value is not what the key has written here") from error


def make(kind: str, name: str, secret: bytes, random: RandomBytes) -> Provider:
    """Raises ValueError for an unknown kind or a key of a wrong size."""
    if kind not in KINDS:
        raise ValueError(f"encryption provider {kind!r} is not supported: {', '.join(KINDS)}")
    if kind == "secretbox" and len(secret) != nacl.secret.SecretBox.KEY_SIZE:
        raise ValueError(f"key {name!r} of secretbox must have 32 bytes")
    if len(secret) not in KEY_BYTES:
        raise ValueError(f"key {name!r} of {kind} must have 16, 24 or 32 bytes")
    prefix = START + f"{kind}:v1:{name}:".encode()
    if kind == "secretbox":
        return SecretBox(prefix, nacl.secret.SecretBox(secret), random)
    if kind == "aesgcm":
        return AesGcm(prefix, AESGCM(secret), random)
    return AesCbc(prefix, secret, random)
