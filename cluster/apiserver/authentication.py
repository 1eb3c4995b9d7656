"""Who asks: the client certificate's common name and organisations (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANONYMOUS = "system:anonymous"
AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()

    @property
    def anonymous(self) -> bool:
        return self.name == ANONYMOUS


NOBODY = User(ANONYMOUS, (UNAUTHENTICATED_GROUP,))


def user_of(certificate: Mapping[str, Any] | None) -> User:
    """The user of a certificate that TLS has verified (`ssl.getpeercert` form), or NOBODY."""
    if not certificate:
        return NOBODY
    pairs = [pair for relative in certificate.get("subject", ()) for pair in relative]
    names = [value for key, value in pairs if key == "commonName"]
    groups = [value for key, value in pairs if key == "organizationName"]
    if not names:
        return NOBODY
    return User(names[0], (*groups, AUTHENTICATED_GROUP))
