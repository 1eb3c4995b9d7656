"""JSON Web Tokens (RFC 7519) with RS256 and ES256 signatures (RFC 7518), and keys as JWKs.

No other algorithm is ever accepted, and a key is used with the one that suits it: what a token
says of itself decides nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from cluster.machinery.errors import BadRequest

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
MAX_TOKEN_CHARS = 64 * 1024
HALF_BYTES = 32
"""Of an ES256 signature: r and s, each 32 bytes."""


@dataclass(frozen=True)
class VerifyingKey:
    """A public key under its key id."""

    key_id: str
    key: PublicKey

    @property
    def algorithm(self) -> str:
        return "RS256" if isinstance(self.key, rsa.RSAPublicKey) else "ES256"


class SigningKey:
    """A private key (PEM)."""

    def __init__(self, pem: bytes) -> None:
        key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("tokens are signed with an RSA or an elliptic curve key")
        self._key: PrivateKey = key
        self.public = verifying_key(key.public_key())

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The token."""
        header = {"alg": self.public.algorithm, "kid": self.public.key_id}
        signed = f"{_encoded(orjson.dumps(header))}.{_encoded(orjson.dumps(claims))}"
        return f"{signed}.{_encoded(self._signature(signed.encode()))}"

    def _signature(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(HALF_BYTES, "big") + s.to_bytes(HALF_BYTES, "big")


def new_signing_key() -> bytes:
    """A fresh ES256 key as PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def verifying_key(key: PublicKey) -> VerifyingKey:
    """Its id is upstream's: the SHA-256 of the key in DER form, base64url."""
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("only elliptic curve keys on P-256 are supported")
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return VerifyingKey(_encoded(hashlib.sha256(der).digest()), key)


def public_keys(pem: bytes) -> list[VerifyingKey]:
    """Of a PEM file that holds a public or a private key."""
    if b"PRIVATE KEY" in pem:
        return [SigningKey(pem).public]
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("tokens are verified with an RSA or an elliptic curve key")
    return [verifying_key(key)]


def claims_unverified(token: str) -> dict[str, Any]:
    """What the token says, true or not; BadRequest if it is no token."""
    return _parts(token)[1]


def verify(token: str, keys: Iterable[VerifyingKey]) -> dict[str, Any]:
    """The claims, if one of the keys has signed them; BadRequest otherwise.

    Times and audiences are for the caller to check.
    """
    header, claims, signed, signature = _parts(token)
    id_ = header.get("kid")
    for key in keys:
        if header.get("alg") != key.algorithm or (id_ and key.key_id and id_ != key.key_id):
            continue
        if _verified(key.key, signed, signature):
            return claims
    raise BadRequest("the token's signature is not of a known key")


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    pieces = token.split(".")
    if len(pieces) != 3 or len(token) > MAX_TOKEN_CHARS:
        raise BadRequest("not a JSON web token")
    try:
        header, claims = (orjson.loads(_decoded(piece)) for piece in pieces[:2])
        signature = _decoded(pieces[2])
    except ValueError as error:
        raise BadRequest("not a JSON web token") from error
    if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
        raise BadRequest("not a JSON web token")
    return header, claims, f"{pieces[0]}.{pieces[1]}".encode(), signature


def _verified(key: PublicKey, signed: bytes, signature: bytes) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            return True
        if len(signature) != 2 * HALF_BYTES:
            return False
        r, s = (int.from_bytes(p, "big") for p in (signature[:HALF_BYTES], signature[HALF_BYTES:]))
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def to_jwk(key: VerifyingKey) -> dict[str, str]:
    """A public key as it stands in a JWKS."""
    common = {"use": "sig", "kid": key.key_id, "alg": key.algorithm}
    if isinstance(key.key, rsa.RSAPublicKey):
        numbers = key.key.public_numbers()
        return {**common, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    point = key.key.public_numbers()
    x, y = (_encoded(value.to_bytes(HALF_BYTES, "big")) for value in (point.x, point.y))
    return {**common, "kty": "EC", "crv": "P-256", "x": x, "y": y}


def from_jwk(jwk: Mapping[str, Any]) -> VerifyingKey | None:
    """None for a key of a kind that is not supported; BadRequest if it is broken."""
    try:
        if jwk.get("kty") == "RSA":
            numbers = rsa.RSAPublicNumbers(_integer(jwk["e"]), _integer(jwk["n"]))
            return VerifyingKey(str(jwk.get("kid", "")), numbers.public_key())
        if jwk.get("kty") == "EC" and jwk.get("crv") == "P-256":
            x, y = _integer(jwk["x"]), _integer(jwk["y"])
            point = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
            return VerifyingKey(str(jwk.get("kid", "")), point.public_key())
    except (KeyError, ValueError, TypeError) as error:
        raise BadRequest(f"the key cannot be read: {error}") from error
    return None


def _number(value: int) -> str:
    return _encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _integer(text: str) -> int:
    return int.from_bytes(_decoded(text), "big")
