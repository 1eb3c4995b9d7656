"""Tokens that a webhook knows: TokenReviews are posted to it, answers kept for a short while."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver.authn.user import Identified, InvalidToken, User
from cluster.apiserver.expiring import Expiring
from cluster.apiserver.remote import KubeconfigWebhook, RemoteError

API_VERSION = "authentication.k8s.io/v1"
TTL_S = 120.0
REMEMBERED = 4096


class WebhookTokens:
    """Config: kubeconfig (a file), ttl_s (120: how long a good answer is believed)."""

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        self._webhook = KubeconfigWebhook(seams, config["kubeconfig"])
        self._ttl_s = float(config.get("ttl_s", TTL_S))
        self._known: Expiring[Identified] = Expiring(seams.clock, REMEMBERED)

    async def check(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """Raises InvalidToken for what the webhook does not know, or if it does not answer."""
        key = hashlib.sha256(token.encode()).digest(), audiences
        found = self._known.get(key)
        if found is None:
            found = await self._ask(token, audiences)
            self._known.put(key, found, self._ttl_s)
        return found

    async def _ask(self, token: str, audiences: tuple[str, ...]) -> Identified:
        spec = {"token": token, "audiences": list(audiences)}
        review = {"kind": "TokenReview", "apiVersion": API_VERSION, "spec": spec}
        try:
            status = (await self._webhook.post(review)).get("status") or {}
        except RemoteError as error:
            raise InvalidToken(f"webhook: {error}") from error
        if not status.get("authenticated"):
            raise InvalidToken(str(status.get("error") or "the webhook does not know the token"))
        info = status.get("user") or {}
        extra = tuple((key, tuple(values)) for key, values in (info.get("extra") or {}).items())
        groups = tuple(info.get("groups") or ())
        user = User(str(info.get("username")), groups, str(info.get("uid") or ""), extra)
        suited = tuple(a for a in status.get("audiences") or audiences if a in audiences)
        if not suited:
            raise InvalidToken("the token is not meant for these audiences")
        return Identified(user, suited)
