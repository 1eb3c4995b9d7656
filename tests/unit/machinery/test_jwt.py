from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from cluster.machinery import jwt
from cluster.machinery.errors import BadRequest


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


EC = jwt.SigningKey(jwt.new_signing_key())
RSA = jwt.SigningKey(pem_of(rsa.generate_private_key(65537, 2048)))
CLAIMS = {"iss": "me", "sub": "you", "aud": ["a"], "nested": {"x": [1, None, True]}}


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("key", [EC, RSA])
def test_what_is_signed_is_verified_with_the_published_key(key: jwt.SigningKey) -> None:
    published = jwt.from_jwk(jwt.to_jwk(key.public))
    assert published is not None
    assert jwt.verify(key.sign(CLAIMS), [EC.public, RSA.public]) == CLAIMS
    assert jwt.verify(key.sign(CLAIMS), [published]) == CLAIMS


@pytest.mark.parametrize("key", [EC, RSA])
@given(data=st.data())
def test_a_changed_token_is_not_believed(key: jwt.SigningKey, data: st.DataObject) -> None:
    token = key.sign(CLAIMS)
    at = data.draw(st.integers(0, len(token) - 2))  # the last letter may hold unused bits
    letter = data.draw(st.sampled_from("AZaz09-_."))
    changed = token[:at] + letter + token[at + 1 :]
    if changed == token:
        return
    with pytest.raises(BadRequest):
        jwt.verify(changed, [EC.public, RSA.public])


def test_the_token_does_not_choose_the_algorithm() -> None:
    public = RSA.public.key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for algorithm in ("none", "HS256", "ES256", "PS256"):
        head = f"{encoded({'alg': algorithm})}.{encoded(CLAIMS)}"
        mac = hmac.new(public, head.encode(), hashlib.sha256).digest()
        for signature in (b"", mac):
            end = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
            with pytest.raises(BadRequest):
                jwt.verify(f"{head}.{end}", [RSA.public])


def test_a_key_of_another_id_is_not_tried() -> None:
    other = jwt.VerifyingKey("other", EC.public.key)
    with pytest.raises(BadRequest):
        jwt.verify(EC.sign(CLAIMS), [other])


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "....", "e30.e30.", "e30.W10.AA", "x" * 99])
def test_what_is_no_token_is_told(text: str) -> None:
    with pytest.raises(BadRequest):
        jwt.verify(text, [EC.public])


def test_keys_of_other_kinds() -> None:
    assert jwt.from_jwk({"kty": "oct", "k": "AA"}) is None
    assert jwt.from_jwk({"kty": "EC", "crv": "P-384"}) is None
    with pytest.raises(BadRequest):
        jwt.from_jwk({"kty": "RSA", "n": "AQAB"})
    with pytest.raises(ValueError, match="P-256"):
        jwt.SigningKey(pem_of(ec.generate_private_key(ec.SECP384R1())))
