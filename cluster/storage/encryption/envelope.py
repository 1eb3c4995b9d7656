"""Envelope encryption as upstream's KMS v2 has it: one seed from outside, a key a value (pure).

What is stored: `k8s:enc:kms:v2:NAME:` and an EncryptedObject, which names the seed as the plugin
has encrypted it. From the seed, HKDF-SHA256 (RFC 5869, expand only) makes the key of a value with
32 random bytes as info; the value is info, nonce and ciphertext of AES-GCM.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from google.protobuf.message import DecodeError

from cluster.storage.encryption.kms_pb2 import EncryptedObject
from cluster.storage.encryption.providers import NONCE_BYTES, RandomBytes, Undecryptable

SEED_BYTES, INFO_BYTES, KEY_BYTES = 32, 32, 32
AES_GCM_KEY, HKDF_SEED = 0, 1
"""Kinds of EncryptedObject: the source is the key itself (as older servers wrote), or a seed."""


@dataclass(frozen=True)
class Source:
    """A seed as it stands beside a value: only the plugin can read it."""

    encrypted: bytes
    key_id: str
    annotations: tuple[tuple[str, bytes], ...] = ()
    kind: int = HKDF_SEED


@dataclass(frozen=True)
class Seed:
    """A seed that the plugin has opened, or that it has just closed."""

    source: Source
    secret: bytes = field(repr=False)


def source_of(sealed: bytes) -> tuple[Source, bytes]:
    """(whose seed it needs, the encrypted value). Raises Undecryptable."""
    found = EncryptedObject()
    try:
        found.ParseFromString(sealed)
    except DecodeError as error:
        raise Undecryptable("not an EncryptedObject") from error
    annotations = tuple(sorted(found.annotations.items()))
    source = Source(
        found.encryptedDEKSource, found.keyID, annotations, found.encryptedDEKSourceType
    )
    return source, found.encryptedData


def seal(seed: Seed, key: bytes, plain: bytes, random: RandomBytes) -> bytes:
    """An EncryptedObject, bound to its key in the store."""
    info, nonce = random(INFO_BYTES), random(NONCE_BYTES)
    data = AESGCM(_derived(seed.secret, info)).encrypt(nonce, plain, key)
    sealed = EncryptedObject(
        encryptedData=info + nonce + data,
        keyID=seed.source.key_id,
        encryptedDEKSource=seed.source.encrypted,
        annotations=dict(seed.source.annotations),
        encryptedDEKSourceType=seed.source.kind,
    )
    return bytes(sealed.SerializeToString(deterministic=True))


def open_(seed: Seed, key: bytes, data: bytes) -> bytes:
    """The plain value of what `source_of` gave. Raises Undecryptable."""
    secret = seed.secret
    if seed.source.kind == HKDF_SEED:
        secret, data = _derived(secret, data[:INFO_BYTES]), data[INFO_BYTES:]
    try:
        return AESGCM(secret).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], key)
    except (InvalidTag, ValueError) as error:
        raise Undecryptable("the value is not what the key has written here") from error


def _derived(secret: bytes, info: bytes) -> bytes:
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, info).derive(secret)
