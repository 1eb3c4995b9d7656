"""ID tokens of an OpenID Connect issuer: its keys are discovered, fetched, and kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver import remote
from cluster.apiserver.authn.claims import ClaimMappings
from cluster.apiserver.authn.user import Identified, InvalidToken
from cluster.machinery import jwt
from cluster.machinery.errors import BadRequest

log = logging.getLogger(__name__)

DISCOVERY = "/.well-known/openid-configuration"
REFETCH_S = 10.0
"""The least time between two fetches: tokens with made-up key ids cost the issuer nothing."""
LEEWAY_S = 10.0
ALGORITHMS = ("RS256", "ES256")


class JwtIssuer:
    """One entry of an AuthenticationConfiguration's `jwt`; `signingAlgorithms` (RS256, ES256) is
    ours: upstream takes whatever the issuer's keys are for.
    """

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        """Raises KeyError and ValueError for a config that cannot work."""
        issuer = config["issuer"]
        self._seams, self.url = seams, str(issuer["url"])
        self._discovery = str(issuer.get("discoveryURL") or self.url.rstrip("/") + DISCOVERY)
        self._authority = str(issuer.get("certificateAuthority") or "")
        for url in (self.url, self._discovery):
            if not url.startswith("https://"):
                raise ValueError(f"oidc: the issuer must be an https URL: {url}")
        self._audiences = _audiences(issuer)
        self._algorithms = frozenset(config.get("signingAlgorithms") or ALGORITHMS)
        if not self._algorithms <= set(ALGORITHMS):
            raise ValueError(f"oidc: only {', '.join(ALGORITHMS)} are supported")
        self._mappings = ClaimMappings(config)
        self._keys: list[jwt.VerifyingKey] = []
        self._fetched_s = float("-inf")
        self._lock = asyncio.Lock()

    async def check(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """None for tokens of other issuers. Raises InvalidToken."""
        try:
            if jwt.claims_unverified(token).get("iss") != self.url:
                return None
        except BadRequest:
            return None
        claims = await self._verified(token)
        self._refuse_times(claims)
        meant = claims.get("aud")
        if self._audiences.isdisjoint(meant if isinstance(meant, list) else [meant]):
            raise InvalidToken(f"oidc: expected audience in {sorted(self._audiences)}, got {meant}")
        return Identified(self._mappings.user(claims))

    async def _verified(self, token: str) -> dict[str, Any]:
        try:
            return jwt.verify(token, self._keys)
        except BadRequest:
            await self._fetch()
        try:
            return jwt.verify(token, self._keys)
        except BadRequest as error:
            raise InvalidToken(f"oidc: {error}") from error

    async def _fetch(self) -> None:
        """The issuer's keys anew, unless that was just done."""
        async with self._lock:
            now_s = self._seams.clock.now()
            if now_s - self._fetched_s < REFETCH_S:
                return
            self._fetched_s = now_s
            try:
                self._keys = await self._fetched()
            except (remote.RemoteError, BadRequest) as error:
                log.warning("oidc: the keys of %s cannot be fetched: %s", self.url, error)

    async def _fetched(self) -> list[jwt.VerifyingKey]:
        url = self._discovery
        found = await remote.get_json(self._seams, url, self._authority)
        if found.get("issuer") != self.url:
            raise remote.RemoteError(f"{url} is of issuer {found.get('issuer')!r}")
        keys = await remote.get_json(self._seams, str(found.get("jwks_uri")), self._authority)
        read = (jwt.from_jwk(each) for each in keys.get("keys") or ())
        return [key for key in read if key is not None and key.algorithm in self._algorithms]

    def _refuse_times(self, claims: Mapping[str, Any]) -> None:
        now_s = self._seams.clock.wall()
        ends, begins = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(ends, int | float) or ends <= now_s:
            raise InvalidToken("oidc: token is expired")
        if not isinstance(begins, int | float) or begins > now_s + LEEWAY_S:
            raise InvalidToken("oidc: token is not valid yet")


def _audiences(issuer: Mapping[str, Any]) -> frozenset[str]:
    found = frozenset(str(each) for each in issuer.get("audiences") or ())
    if not found:
        raise ValueError("issuer.audiences: at least one audience is required")
    if len(found) > 1 and issuer.get("audienceMatchPolicy") != "MatchAny":
        raise ValueError("issuer.audienceMatchPolicy must be MatchAny for multiple audiences")
    return found
