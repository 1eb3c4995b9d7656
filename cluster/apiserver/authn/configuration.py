"""AuthenticationConfiguration: issuers of tokens, and who may come without credentials.

A file of apiserver.config.k8s.io (v1, v1beta1) that is followed while the server runs; the older
settings (`oidc`, as upstream's --oidc-* flags) are the same in another form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from actors.seams import Seams
from cluster.apiserver.authn.oidc import JwtIssuer
from cluster.apiserver.authn.user import Identified, TokenAuthenticator

Object = Mapping[str, Any]
KIND = "AuthenticationConfiguration"
VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1"))


@dataclass(frozen=True)
class Anonymous:
    """`paths`: the only ones that are open to anonymous users; empty: all are."""

    enabled: bool = True
    paths: frozenset[str] = frozenset()

    def may_ask(self, path: str) -> bool:
        return self.enabled and (not self.paths or path in self.paths)


@dataclass(frozen=True)
class Authentication:
    issuers: Sequence[JwtIssuer]
    anonymous: Anonymous | None


def parse(text: bytes, path: str, seams: Seams) -> Authentication:
    """From the text of a file. Raises ValueError, LookupError, TypeError."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if document.get("kind") != KIND or document.get("apiVersion") not in VERSIONS:
        raise ValueError(f"{path}: not an {KIND} of {VERSIONS[0]}")
    issuers = [JwtIssuer(seams, entry) for entry in document.get("jwt") or ()]
    urls = [issuer.url for issuer in issuers]
    if len({*urls}) < len(urls):
        raise ValueError(f"{path}: two issuers have the same url")
    found = document.get("anonymous")
    return Authentication(issuers, None if found is None else _anonymous(found))


def _anonymous(config: Object) -> Anonymous:
    paths = frozenset(str(each["path"]) for each in config.get("conditions") or ())
    if paths and not config.get("enabled"):
        raise ValueError("anonymous: enabled must be set to true when conditions are defined")
    return Anonymous(bool(config.get("enabled")), paths)


def of_flags(config: Object) -> Object:
    """The entry of `jwt` that says what these settings say: issuer_url, client_id, username_claim
    (sub), username_prefix (issuer_url#, unless the claim is email; "-" for none), groups_claim,
    groups_prefix, required_claims, ca_file, signing_algs (RS256).
    """
    url, claim = str(config["issuer_url"]), str(config.get("username_claim") or "sub")
    prefix = config.get("username_prefix", "" if claim == "email" else f"{url}#")
    username = {"claim": claim, "prefix": "" if prefix == "-" else str(prefix)}
    mappings: dict[str, Any] = {"username": username}
    if config.get("groups_claim"):
        groups = {"claim": config["groups_claim"], "prefix": str(config.get("groups_prefix") or "")}
        mappings["groups"] = groups
    required = (config.get("required_claims") or {}).items()
    ca_file = config.get("ca_file")
    authority = Path(ca_file).read_text() if ca_file else ""
    issuer = {
        "url": url,
        "audiences": [str(config["client_id"])],
        "certificateAuthority": authority,
    }
    return {
        "issuer": issuer,
        "claimMappings": mappings,
        "claimValidationRules": [{"claim": k, "requiredValue": v} for k, v in required],
        "signingAlgorithms": list(config.get("signing_algs") or ("RS256",)),
    }


class Configured:
    """The issuers and the anonymous that are in use; a file's are exchanged when it changes."""

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        """Config: oidc (a list), anonymous, or authentication_config (a file) for both."""
        self._seams, self.path = seams, str(config.get("authentication_config") or "")
        if self.path and config.get("oidc"):
            raise ValueError("authentication_config and oidc are mutually exclusive")
        self._usual = Anonymous(config.get("anonymous", True) is not False)
        self.anonymous = self._usual
        self.issuers: Sequence[TokenAuthenticator] = [
            JwtIssuer(seams, of_flags(each)) for each in config.get("oidc") or ()
        ]
        if self.path:
            self._take(parse(Path(self.path).read_bytes(), self.path, seams))
            if "anonymous" in config and self.anonymous is not self._usual:
                raise ValueError("anonymous is set here and in the authentication_config")

    async def use(self, text: bytes) -> None:
        """What the file says now."""
        self._take(parse(text, self.path, self._seams))

    def _take(self, found: Authentication) -> None:
        self.issuers, self.anonymous = found.issuers, found.anonymous or self._usual

    async def check(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """By the issuer that the token names, and no other."""
        for issuer in self.issuers:
            found = await issuer.check(token, audiences)
            if found is not None:
                return found
        return None
