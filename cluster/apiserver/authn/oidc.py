"""ID tokens of an OpenID Connect issuer: its keys are discovered, fetched, and kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver import remote
from cluster.apiserver.authn.user import Identified, InvalidToken, User
from cluster.machinery import jwt
from cluster.machinery.errors import BadRequest

log = logging.getLogger(__name__)

DISCOVERY = "/.well-known/openid-configuration"
REFETCH_S = 10.0
"""The least time between two fetches: tokens with made-up key ids cost the issuer nothing."""
LEEWAY_S = 10.0
ALGORITHMS = ("RS256", "ES256")


class OidcTokens:
    """Config, as upstream's --oidc-* flags: issuer_url, client_id, username_claim (sub),
    username_prefix (issuer_url#, unless the claim is email; "-" for none), groups_claim,
    groups_prefix, required_claims, ca_file, signing_algs (RS256).
    """

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        """Raises KeyError and ValueError for a config that cannot work."""
        self._seams, self._config = seams, config
        self._issuer, self._audience = str(config["issuer_url"]), str(config["client_id"])
        if not self._issuer.startswith("https://"):
            raise ValueError(f"oidc: the issuer must be an https URL: {self._issuer}")
        self._algorithms = frozenset(config.get("signing_algs") or ("RS256",))
        if not self._algorithms <= set(ALGORITHMS):
            raise ValueError(f"oidc: only {', '.join(ALGORITHMS)} are supported")
        self._claim = str(config.get("username_claim") or "sub")
        default = "" if self._claim == "email" else f"{self._issuer}#"
        prefix = config.get("username_prefix", default)
        self._prefix = "" if prefix == "-" else str(prefix)
        self._keys: list[jwt.VerifyingKey] = []
        self._fetched_s = float("-inf")
        self._lock = asyncio.Lock()

    async def check(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """None for tokens of other issuers. Raises InvalidToken."""
        try:
            if jwt.claims_unverified(token).get("iss") != self._issuer:
                return None
        except BadRequest:
            return None
        claims = await self._verified(token)
        self._refuse_times(claims)
        meant = claims.get("aud")
        if self._audience not in (meant if isinstance(meant, list) else [meant]):
            raise InvalidToken(f"oidc: expected audience {self._audience!r}, got {meant!r}")
        for name, value in (self._config.get("required_claims") or {}).items():
            if claims.get(name) != value:
                raise InvalidToken(f"oidc: required claim {name} is not {value!r}")
        return Identified(User(self._username(claims), self._groups(claims)))

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
                log.warning("oidc: the keys of %s cannot be fetched: %s", self._issuer, error)

    async def _fetched(self) -> list[jwt.VerifyingKey]:
        ca_file = str(self._config.get("ca_file") or "")
        url = self._issuer.rstrip("/") + DISCOVERY
        found = await remote.get_json(self._seams, url, ca_file)
        if found.get("issuer") != self._issuer:
            raise remote.RemoteError(f"{url} is of issuer {found.get('issuer')!r}")
        keys = await remote.get_json(self._seams, str(found.get("jwks_uri")), ca_file)
        read = (jwt.from_jwk(each) for each in keys.get("keys") or ())
        return [key for key in read if key is not None and key.algorithm in self._algorithms]

    def _refuse_times(self, claims: Mapping[str, Any]) -> None:
        now_s = self._seams.clock.wall()
        ends, begins = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(ends, int | float) or ends <= now_s:
            raise InvalidToken("oidc: token is expired")
        if not isinstance(begins, int | float) or begins > now_s + LEEWAY_S:
            raise InvalidToken("oidc: token is not valid yet")

    def _username(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self._claim)
        if not isinstance(name, str) or not name:
            raise InvalidToken(f"oidc: claim {self._claim!r} is not there")
        if self._claim == "email" and claims.get("email_verified", True) is not True:
            raise InvalidToken("oidc: email not verified")
        return self._prefix + name

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        claim = self._config.get("groups_claim")
        found = claims.get(claim) if claim else None
        listed = [found] if isinstance(found, str) else found or []
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise InvalidToken(f"oidc: claim {claim!r} is not a list of groups")
        prefix = str(self._config.get("groups_prefix") or "")
        return tuple(prefix + group for group in listed)
