"""Authorizers in a row: the first that has an opinion decides."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.apiserver.authz.attributes import (
    ALLOW,
    NO_OPINION,
    NONE,
    Attributes,
    Authorizer,
    Decision,
)

MASTERS_GROUP = "system:masters"
ALWAYS_ALLOWED = ("/healthz", "/livez", "/readyz")
"""As upstream's --authorization-always-allow-paths: probes come before any role is there."""


class Superusers:
    """Who is in system:masters may do everything, whatever the roles say."""

    async def decide(self, asked: Attributes) -> Decision:
        return Decision(ALLOW) if MASTERS_GROUP in asked.user.groups else NONE


class AlwaysAllowedPaths:
    """Health checks need no permission."""

    async def decide(self, asked: Attributes) -> Decision:
        return Decision(ALLOW) if not asked.resource and _always(asked.path) else NONE


def _always(path: str) -> bool:
    return path in ALWAYS_ALLOWED


class AuthorizerChain:
    """Nobody's opinion is a refusal; the reasons of all are told."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    def replace(self, authorizers: Sequence[Authorizer]) -> None:
        """Ask these from now on."""
        self._authorizers = tuple(authorizers)

    async def decide(self, asked: Attributes) -> Decision:
        reasons: list[str] = []
        for authorizer in self._authorizers:
            decision = await authorizer.decide(asked)
            if decision.outcome != NO_OPINION:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(NO_OPINION, "\n".join(reasons)) if reasons else NONE
