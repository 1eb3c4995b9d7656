"""Bootstrap tokens: secrets bootstrap-token-ID in kube-system, for nodes that join."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Any

from actors.seams.clock import Clock
from cluster.apiserver.authn.user import Identified, InvalidToken, User
from cluster.apiserver.lookup import Lookup
from cluster.machinery import meta

TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
TYPE = "bootstrap.kubernetes.io/token"
DEFAULT_GROUP = "system:bootstrappers"


class BootstrapTokens:
    """Each secret holds token-id, token-secret, usage-bootstrap-authentication: "true"."""

    def __init__(self, lookup: Lookup, clock: Clock) -> None:
        self._lookup, self._clock = lookup, clock

    async def check(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        match = TOKEN.fullmatch(token)
        if match is None:
            return None
        id_, secret = match.groups()
        name = f"bootstrap-token-{id_}"
        found = await self._lookup.find("v1/secrets", "kube-system", name)
        if found is None or found["metadata"].get("deletionTimestamp"):
            return None
        if found.get("type") != TYPE:
            return None
        data = _decoded(found)
        if not hmac.compare_digest(data.get("token-secret", ""), secret):
            return None
        if data.get("token-id") != id_ or data.get("usage-bootstrap-authentication") != "true":
            return None
        self._refuse_expired(data.get("expiration", ""))
        groups = [g.strip() for g in data.get("auth-extra-groups", "").split(",") if g.strip()]
        if not all(GROUP.fullmatch(group) for group in groups):
            raise InvalidToken(f"secret {name} has an invalid group")
        return Identified(User(f"system:bootstrap:{id_}", (DEFAULT_GROUP, *groups)))

    def _refuse_expired(self, expiration: str) -> None:
        if not expiration:
            return
        try:
            ends_s = meta.parse_time(expiration)
        except ValueError:
            raise InvalidToken("the token's expiration cannot be read") from None
        if ends_s <= self._clock.wall():
            raise InvalidToken("the bootstrap token has expired")


def _decoded(secret: dict[str, Any]) -> dict[str, str]:
    data = secret.get("data") or {}
    return {k: base64.b64decode(v or "").decode("utf-8", "replace") for k, v in data.items()}
