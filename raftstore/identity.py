"""Who a member is, and who may speak to it.

Ids are hashes, as in etcd: a store's of its founders and a token, a founder's of its address and
the token, a later member's of its addresses, the store and a number that whoever adds it draws.

With TLS, those may speak to a member whose certificate names one of its organizations: a
cluster's CA also signs kubelets and users; being signed by it is not enough to reach the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

Organizations = frozenset[str]


def format_id(number: int) -> str:
    """The form of an id in configurations and logs: 16 hexadecimal digits."""
    return f"{number:016x}"


def founder_id(peer_addresses: Sequence[str], token: str) -> int:
    return _hash(*sorted(peer_addresses), token)


def cluster_id(founders: Iterable[int]) -> int:
    return _hash(*map(format_id, sorted(founders)))


def joiner_id(peer_addresses: Sequence[str], cluster: int, nonce: int) -> int:
    return _hash(*sorted(peer_addresses), format_id(cluster), str(nonce))


def _hash(*parts: str) -> int:
    """63 bits, never 0: 0 stands for no member in etcd's protocol."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1 or 1


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
