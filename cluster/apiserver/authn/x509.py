"""Client certificates: the common name is the user, organisations are groups (pure)."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any

from cluster.apiserver.authn.user import User, authenticated
from cluster.apiserver.http.messages import Request
from cluster.machinery import status

REMEMBERED = 4096
UID = "1.3.6.1.4.1.57683.2"
"""Upstream's attribute for a user's uid in a subject."""
Name = tuple[tuple[tuple[str, str], ...], ...]


class CertificateAuthenticator:
    """`not_from`: the subject of an authority whose certificates do not name users; `wall`: now.

    TLS has verified the certificate when the connection began; it may end before that does.
    """

    def __init__(self, wall: Callable[[], float], not_from: Name | None = None) -> None:
        self._wall, self._not_from = wall, not_from
        self._known: dict[int, tuple[Mapping[str, Any], User | None, float]] = {}

    async def identify(self, request: Request) -> User | None:
        """A connection's certificate stays one object, so it is read once. 401 after its end."""
        certificate = request.peer_certificate
        if not certificate:
            return None
        known = self._known.get(id(certificate))
        if known is not None and known[0] is certificate:
            return self._valid(known[1], known[2])
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        user = None if certificate.get("issuer") == self._not_from else user_of(certificate)
        found = None if user is None else authenticated(user)
        ends_s = _ends_s(certificate)
        self._known[id(certificate)] = certificate, found, ends_s
        return self._valid(found, ends_s)

    def _valid(self, user: User | None, ends_s: float) -> User | None:
        if user is not None and self._wall() > ends_s:
            raise status.unauthorized()
        return user


def _ends_s(certificate: Mapping[str, Any]) -> float:
    text = certificate.get("notAfter")
    return float(ssl.cert_time_to_seconds(text)) if text else float("inf")


def user_of(certificate: Mapping[str, Any]) -> User | None:
    """The user of a certificate that TLS has verified (`ssl.getpeercert` form)."""
    pairs = [pair for relative in certificate.get("subject", ()) for pair in relative]
    names = [value for key, value in pairs if key == "commonName"]
    if not names:
        return None
    groups = tuple(value for key, value in pairs if key == "organizationName")
    uids = [value for key, value in pairs if key == UID]
    return User(names[0], groups, uids[0] if uids else "")


def common_name(certificate: Mapping[str, Any]) -> str:
    """Of its subject; "" if it has none."""
    user = user_of(certificate)
    return user.name if user is not None else ""


def subject_of(ca_file: str) -> Name:
    """The subject of the (first) authority in a PEM file, as `getpeercert` writes issuers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_file)
    return context.get_ca_certs()[0]["subject"]  # type: ignore[return-value]
