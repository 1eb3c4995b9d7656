"""Puts authentication and authorisation together from a server's config.

Config, all optional: `service_account` (see `Issuer`), `token_file`, `oidc` (a list, see
`authn.configuration`), `request_header` (see `authn.request_header`), `anonymous` (true),
`authentication_config` (a file, instead of `oidc`), `token_webhook` (see `authn.webhook`),
`authorization_webhook` (see `authz.webhook`) or `authorization_config` (a file, see
`authz.configuration`); files are followed every `config_reload_s` (10). `audit`
(policy: a file, and see `audit.log_file`), `max_requests_inflight` (600: the seats that priority
levels share).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import followed_file
from actors.followed_file import FollowedFile
from actors.seams import Seams
from cluster.apiserver.admission.node_restriction import NodeRestriction
from cluster.apiserver.audit import policy
from cluster.apiserver.audit.backends import Backends
from cluster.apiserver.audit.recorder import Auditor
from cluster.apiserver.authn.bearer import BearerAuthenticator, TokenChain
from cluster.apiserver.authn.bootstrap_tokens import BootstrapTokens
from cluster.apiserver.authn.chain import AuthenticatorChain
from cluster.apiserver.authn.configuration import Configured
from cluster.apiserver.authn.request_header import FrontProxyAuthenticator
from cluster.apiserver.authn.service_accounts import Issuer, ServiceAccountTokens
from cluster.apiserver.authn.static_tokens import StaticTokens
from cluster.apiserver.authn.user import Authenticator, TokenAuthenticator
from cluster.apiserver.authn.webhook import WebhookTokens
from cluster.apiserver.authn.x509 import CertificateAuthenticator, subject_of
from cluster.apiserver.authz import configuration as authorization
from cluster.apiserver.authz import rbac
from cluster.apiserver.authz.attributes import Authorizer
from cluster.apiserver.authz.chain import AlwaysAllowedPaths, AuthorizerChain, Superusers
from cluster.apiserver.authz.configuration import Own
from cluster.apiserver.authz.escalation import EscalationCheck
from cluster.apiserver.authz.node import NodeAuthorizer
from cluster.apiserver.authz.node_graph import NodeGraph
from cluster.apiserver.authz.webhook import WebhookAuthorizer
from cluster.apiserver.context import Kept
from cluster.apiserver.fairness import bootstrap as fair_objects
from cluster.apiserver.fairness.dispatcher import SEATS, Fairness
from cluster.apiserver.handlers.reviews import Reviews
from cluster.apiserver.legacy_tokens import LegacyTokenUse
from cluster.apiserver.lookup import Lookup
from cluster.machinery import jwt
from cluster.storage.feed import Feed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Security:
    """What a server needs to know who asks and what they may do."""

    authenticator: AuthenticatorChain
    authorizer: Authorizer
    issuer: Issuer
    lookup: Lookup
    reviews: Reviews
    escalation: EscalationCheck
    node_restriction: NodeRestriction
    auditor: Auditor | None
    fairness: Fairness
    files: Sequence[FollowedFile]
    legacy_tokens: LegacyTokenUse


def compose(
    seams: Seams, config: Mapping[str, Any], kept: Mapping[str, Kept], feed: Feed
) -> Security:
    """`kept` holds the built-in resources. Raises OSError and ValueError for a bad config."""
    lookup = Lookup(kept)
    issuer = _issuer(seams, config.get("service_account") or {})
    configured = Configured(seams, config)
    uses = LegacyTokenUse(seams, kept)
    tokens = TokenChain(_tokens(seams, config, issuer, lookup, configured, uses))
    caches = [kept[f"{rbac.GROUP}/v1/{plural}"].registry.cache for plural in rbac.KINDS]
    by_role = rbac.RbacAuthorizer(rbac.index(caches))
    graph = NodeGraph(kept["v1/pods"].registry.cache)
    own: Own = {"Node": NodeAuthorizer(graph, lookup, feed.fresh), "RBAC": by_role}
    chain = AuthorizerChain(())
    files = [*_authorizers(seams, config, own, chain), *_followed(seams, config, configured)]
    wall = seams.clock.wall
    return Security(
        _authenticators(
            config, tokens, issuer, lambda path: configured.anonymous.may_ask(path), wall
        ),
        chain,
        issuer,
        lookup,
        Reviews(tokens, issuer.audiences, chain, by_role, wall),
        EscalationCheck(by_role, chain, lookup),
        NodeRestriction(lookup, chain),
        _auditor(seams, config.get("audit") or {}),
        _fairness(seams, config, kept),
        files,
        uses,
    )


FIRST = (AlwaysAllowedPaths(), Superusers())
"""Before all others, whatever is configured."""


def _authorizers(
    seams: Seams, config: Mapping[str, Any], own: Own, chain: AuthorizerChain
) -> list[FollowedFile]:
    """Fills the chain, as settings or a file say; the file, if there is one."""
    path = str(config.get("authorization_config") or "")
    if not path:
        webhook = config.get("authorization_webhook")
        more = [WebhookAuthorizer(seams, webhook)] if webhook else []
        chain.replace([*FIRST, *own.values(), *more])
        return []
    if config.get("authorization_webhook"):
        text = "authorization_config and authorization_webhook are mutually exclusive"
        raise ValueError(text)
    found = authorization.parse(Path(path).read_bytes(), path, seams, own)

    def replace(authorizers: Sequence[Authorizer]) -> None:
        chain.replace([*FIRST, *authorizers])

    replace(found.authorizers)
    following = authorization.Following(path, seams, own, found, replace)
    return [FollowedFile(path, seams.clock, following.use, _interval_s(config))]


def _followed(
    seams: Seams, config: Mapping[str, Any], configured: Configured
) -> list[FollowedFile]:
    if not configured.path:
        return []
    return [FollowedFile(configured.path, seams.clock, configured.use, _interval_s(config))]


def _interval_s(config: Mapping[str, Any]) -> float:
    return float(config.get("config_reload_s") or followed_file.INTERVAL_S)


def _fairness(seams: Seams, config: Mapping[str, Any], kept: Mapping[str, Kept]) -> Fairness:
    flow_schemas, levels = (
        kept[f"{fair_objects.API_VERSION}/{plural}"].registry.cache
        for plural in ("flowschemas", "prioritylevelconfigurations")
    )
    seats = int(config.get("max_requests_inflight") or SEATS)
    return Fairness(flow_schemas, levels, seams.clock, seats)


def _auditor(seams: Seams, config: Mapping[str, Any]) -> Auditor | None:
    if not config.get("policy"):
        return None
    return Auditor(policy.load(config["policy"]), Backends(seams, config), seams)


def _issuer(seams: Seams, config: Mapping[str, Any]) -> Issuer:
    if not config.get("key"):
        log.warning("no key for service accounts' tokens: they end with this process")
        return Issuer(seams, config, jwt.new_signing_key())
    with open(config["key"], "rb") as file:
        return Issuer(seams, config, file.read())


def _tokens(
    seams: Seams,
    config: Mapping[str, Any],
    issuer: Issuer,
    lookup: Lookup,
    configured: Configured,
    uses: LegacyTokenUse,
) -> list[TokenAuthenticator]:
    found: list[TokenAuthenticator] = []
    if config.get("token_file"):
        found.append(StaticTokens(config["token_file"]))
    found.append(ServiceAccountTokens(issuer, lookup, seams, uses.note))
    found.append(BootstrapTokens(lookup, seams.clock))
    found.append(configured)
    if config.get("token_webhook"):
        found.append(WebhookTokens(seams, config["token_webhook"]))
    return found


def _authenticators(
    config: Mapping[str, Any],
    tokens: TokenChain,
    issuer: Issuer,
    nobody: Callable[[str], bool],
    wall: Callable[[], float],
) -> AuthenticatorChain:
    found: list[Authenticator] = []
    proxies = None
    if config.get("request_header"):
        front = FrontProxyAuthenticator(config["request_header"])
        if front.issuer == subject_of(config["tls"]["ca"]):
            raise ValueError("the front proxies' authority needs a name of its own")
        found.append(front)
        proxies = front.issuer
    found.append(CertificateAuthenticator(wall, not_from=proxies))
    found.append(BearerAuthenticator(tokens, issuer.audiences))
    return AuthenticatorChain(found, nobody)
