"""Users by client certificates."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.apiserver.authn.x509 import CertificateAuthenticator
from cluster.machinery.status import ApiError

ENDS_S = 1_790_000_000.0


def certificate(user: str = "jane") -> dict[str, Any]:
    subject = ((("organizationName", "devs"),), (("commonName", user),))
    issuer = ((("commonName", "ca"),),)
    return {"subject": subject, "issuer": issuer, "notAfter": "Sep 21 14:13:20 2026 GMT"}


def test_a_connection_outlives_its_certificate_and_is_refused_then() -> None:
    now_s = [ENDS_S - 1]
    authenticator = CertificateAuthenticator(lambda: now_s[0])
    request: Any = SimpleNamespace(peer_certificate=certificate())

    def identify() -> Any:
        return asyncio.run(authenticator.identify(request))

    assert identify().groups == ("devs", "system:authenticated")
    now_s[0] = ENDS_S + 1
    with pytest.raises(ApiError, match="Unauthorized"):
        identify()
    now_s[0] = ENDS_S - 1
    assert identify().name == "jane"
