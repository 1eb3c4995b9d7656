"""Who may speak to a member: with TLS, those whose certificate names one of its organizations.

A cluster's CA also signs kubelets and users; being signed by it is not enough to reach the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import pathlib
from collections.abc import Mapping
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

Organizations = frozenset[str]


def member_id(name: str) -> int:
    """A member's number wherever one is wanted instead of its name; the same in every run."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1


def own_organizations(files: Mapping[str, str] | None) -> Organizations:
    """Organizations (O) in a member's own certificate; empty without TLS, or if it names none."""
    if not files:
        return frozenset()
    return organizations(pathlib.Path(files["cert"]).read_bytes())


@lru_cache(maxsize=1000)
def organizations(pem: bytes) -> Organizations:
    """Those that a certificate names."""
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return frozenset(str(name.value) for name in names)


def is_allowed(transport: asyncio.BaseTransport, allowed: Organizations) -> bool:
    """Whether the peer shares an organization; always, if none is demanded."""
    if not allowed:
        return True
    certificate = transport.get_extra_info("peercert") or {}
    subject = certificate.get("subject", ())
    return any(key == "organizationName" and value in allowed for ((key, value),) in subject)
