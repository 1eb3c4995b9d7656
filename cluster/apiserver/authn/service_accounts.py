"""Tokens of service accounts: signed here, and believed while what they are bound to lives."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.apiserver.authn.user import Identified, InvalidToken, User
from cluster.apiserver.lookup import Lookup
from cluster.machinery import jwt, meta
from cluster.machinery.errors import BadRequest

Object = dict[str, Any]
Claims = dict[str, Any]

USER_PREFIX = "system:serviceaccount:"
ALL_GROUP = "system:serviceaccounts"
PRIVATE = "kubernetes.io"
LEGACY_ISSUER = "kubernetes/serviceaccount"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
LEGACY_TYPE = "kubernetes.io/service-account-token"
LEEWAY_S = 60.0
"""How long a token outlives the deletion timestamp of its pod, as upstream has it."""
REMEMBERED = 4096
EXTRA = "authentication.kubernetes.io/"


def username(namespace: str, name: str) -> str:
    """Of a service account."""
    return f"{USER_PREFIX}{namespace}:{name}"


def groups(namespace: str) -> tuple[str, ...]:
    """That every service account of a namespace is in."""
    return ALL_GROUP, f"{ALL_GROUP}:{namespace}"


@dataclass(frozen=True)
class Binding:
    """The object that a token lives and dies with."""

    kind: str
    name: str
    uid: str


class Issuer:
    """Config: issuer (a URL), key (file of the signing key), keys (files of further ones that
    are still believed), audiences (the API server's own; the issuer by default).
    """

    def __init__(self, seams: Seams, config: Mapping[str, Any], signing_key: bytes) -> None:
        self.url = str(config.get("issuer") or "https://kubernetes.default.svc")
        self.audiences: tuple[str, ...] = tuple(config.get("audiences") or (self.url,))
        self._seams = seams
        self._key = jwt.SigningKey(signing_key)
        self.keys: list[jwt.VerifyingKey] = [self._key.public]
        for path in config.get("keys") or ():
            with open(path, "rb") as file:
                self.keys += jwt.public_keys(file.read())

    def issue(
        self,
        account: Object,
        audiences: Sequence[str],
        seconds: int,
        binding: Binding | None,
        node: Binding | None = None,
    ) -> tuple[str, float]:
        """(token, when it expires in seconds of the epoch)."""
        metadata = account["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        now = int(self._seams.clock.wall())
        private: Claims = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": metadata["uid"]},
        }
        for bound in (binding, node):
            if bound is not None:
                private[bound.kind.lower()] = {"name": bound.name, "uid": bound.uid}
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self.url,
            "jti": _uuid(self._seams.randomness.randbytes(16)),
            PRIVATE: private,
            "nbf": now,
            "sub": username(namespace, name),
        }
        return self._key.sign(claims), float(now + seconds)


def _uuid(data: bytes) -> str:
    text = data.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class ServiceAccountTokens:
    """Signatures are remembered, what tokens are bound to is looked up each time."""

    def __init__(
        self,
        issuer: Issuer,
        lookup: Lookup,
        seams: Seams,
        used: Callable[[Claims], None] = lambda _: None,
    ) -> None:
        """`used` is told the secret whose token is used."""
        self._used = used
        self._issuer, self._lookup, self._clock = issuer, lookup, seams.clock
        self._verified: dict[str, Claims] = {}

    async def check(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """None for tokens of other issuers. Raises InvalidToken."""
        claims = self._claims(token)
        if claims is None:
            return None
        if claims["iss"] == LEGACY_ISSUER:
            return await self._legacy(token, claims, audiences)
        self._refuse_times(claims)
        meant = _strings(claims.get("aud"))
        suited = tuple(a for a in meant if a in audiences)
        if not suited:
            raise InvalidToken(f"token audiences {meant!r} are invalid for {audiences!r}")
        return Identified(await self._user(claims), suited)

    def _claims(self, token: str) -> Claims | None:
        found = self._verified.get(token)
        if found is not None:
            return found
        try:
            issuer = jwt.claims_unverified(token).get("iss")
        except BadRequest:
            return None
        if issuer not in (self._issuer.url, LEGACY_ISSUER):
            return None
        try:
            claims = jwt.verify(token, self._issuer.keys)
        except BadRequest as error:
            raise InvalidToken(str(error)) from error
        if len(self._verified) >= REMEMBERED:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    def _refuse_times(self, claims: Claims) -> None:
        now_s = self._clock.wall()
        ends, begins = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(ends, int | float) or ends <= now_s:
            raise InvalidToken("service account token has expired")
        if not isinstance(begins, int | float) or begins > now_s + LEEWAY_S:
            raise InvalidToken("service account token is not valid yet")

    async def _user(self, claims: Claims) -> User:
        private = claims.get(PRIVATE)
        if not isinstance(private, dict) or not isinstance(private.get("serviceaccount"), dict):
            raise InvalidToken("the token has no claims of a service account")
        namespace, account = str(private.get("namespace")), private["serviceaccount"]
        name, uid = str(account.get("name")), str(account.get("uid"))
        if claims.get("sub") != username(namespace, name):
            raise InvalidToken("the token's subject is not its service account")
        await self._alive("v1/serviceaccounts", namespace, account)
        for part, resource in (("secret", "v1/secrets"), ("pod", "v1/pods")):
            if part in private:
                await self._alive(resource, namespace, private[part])
        if "node" in private and "pod" not in private:
            await self._alive("v1/nodes", "", private["node"])
        return User(username(namespace, name), groups(namespace), uid, _extra(claims, private))

    async def _alive(self, resource: str, namespace: str, claimed: Any) -> None:
        """The object is the one that the token was bound to, and is not gone."""
        name = str(claimed.get("name"))
        found = await self._lookup.find(resource, namespace, name)
        if found is not None and found["metadata"]["uid"] != claimed.get("uid"):
            found = await self._lookup.newest(resource, namespace, name)
        shown = f"{resource.removeprefix('v1/')} {namespace}/{name}"
        if found is None or found["metadata"]["uid"] != claimed.get("uid"):
            raise InvalidToken(f"the token is bound to {shown}, which is gone")
        deleted = found["metadata"].get("deletionTimestamp")
        if deleted and meta.parse_time(deleted) + LEEWAY_S < self._clock.wall():
            raise InvalidToken(f"the token is bound to {shown}, which is being deleted")

    async def _legacy(self, token: str, claims: Claims, audiences: tuple[str, ...]) -> Identified:
        """A token that a secret holds; it lives as long as the secret and the account."""
        start = f"{LEGACY_ISSUER}/"
        namespace, secret_name, name, uid = (
            str(claims.get(start + part, ""))
            for part in ("namespace", "secret.name", "service-account.name", "service-account.uid")
        )
        suited = tuple(a for a in self._issuer.audiences if a in audiences)
        if not suited:
            raise InvalidToken("the token is for the API server only")
        secret = await self._lookup.find("v1/secrets", namespace, secret_name)
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            raise InvalidToken("the token's secret is gone")
        held = base64.b64decode((secret.get("data") or {}).get("token") or "")
        if secret.get("type") != LEGACY_TYPE or not hmac.compare_digest(held, token.encode()):
            raise InvalidToken("the token is not that of its secret any more")
        if (secret["metadata"].get("labels") or {}).get(INVALID_SINCE):
            raise InvalidToken(f"the token in secret {namespace}/{secret_name} is invalid")
        await self._alive("v1/serviceaccounts", namespace, {"name": name, "uid": uid})
        self._used(secret)
        return Identified(User(username(namespace, name), groups(namespace), uid), suited)


def _extra(claims: Claims, private: Claims) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = {"credential-id": f"JTI={claims.get('jti')}"}
    for part in ("node", "pod"):
        bound = private.get(part)
        if isinstance(bound, dict):
            found |= {f"{part}-name": str(bound.get("name")), f"{part}-uid": str(bound.get("uid"))}
    return tuple((EXTRA + key, (value,)) for key, value in found.items())


def _strings(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [each for each in listed if isinstance(each, str)]
