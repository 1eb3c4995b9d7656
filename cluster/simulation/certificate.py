"""A certificate that has the same bytes in every process: servers tell it, and traces hold that."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)


def always_the_same(name: str) -> tuple[bytes, bytes]:
    """(certificate, key), PEM, signed by itself. Ed25519 signs without randomness; no secret."""
    key = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    basic = x509.BasicConstraints(ca=True, path_length=None)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, BEGIN, END)
        .add_extension(basic, critical=True)
        .sign(key, None)
    )
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    return certificate.public_bytes(pem), private
