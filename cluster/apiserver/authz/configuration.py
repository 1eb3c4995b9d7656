"""AuthorizationConfiguration: which authorizers are asked, in which order, and webhooks' terms.

A file of apiserver.config.k8s.io (v1, v1beta1) that is followed while the server runs. Webhooks may
come, go and change with it; the other types stay what they were at the start, as upstream.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from actors.seams import Seams
from cluster.apiserver.authz.attributes import (
    ALLOW,
    DENY,
    NONE,
    Attributes,
    Authorizer,
    Decision,
)
from cluster.apiserver.authz.conditions import MatchConditions
from cluster.apiserver.authz.webhook import WebhookAuthorizer

Object = Mapping[str, Any]
KIND = "AuthorizationConfiguration"
VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1"))
MAX_TIMEOUT_S = 30.0
WEBHOOK = "Webhook"
Own = Mapping[str, Authorizer]
"""The server's own authorizers by their type: Node, RBAC, ..."""
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")


class Always:
    """AlwaysAllow and AlwaysDeny."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    async def decide(self, asked: Attributes) -> Decision:
        return self._decision


ALWAYS: Own = {
    "AlwaysAllow": Always(Decision(ALLOW)),
    "AlwaysDeny": Always(Decision(DENY, "Everything is forbidden.")),
}


@dataclass(frozen=True)
class Configured:
    """Authorizers in the order of the file, and the types among them that cannot change."""

    authorizers: Sequence[Authorizer]
    fixed: frozenset[str]


def parse(text: bytes, path: str, seams: Seams, own: Own) -> Configured:
    """From the text of a file. Raises ValueError, LookupError, TypeError, OSError."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if document.get("kind") != KIND or document.get("apiVersion") not in VERSIONS:
        raise ValueError(f"{path}: not an {KIND} of {VERSIONS[0]}")
    entries = document.get("authorizers") or ()
    if not entries:
        raise ValueError("authorizers: at least one authorization mode must be defined")
    _refuse_repeated(entries)
    found = [_authorizer(entry, seams, {**ALWAYS, **own}) for entry in entries]
    return Configured(found, frozenset(e["type"] for e in entries if e["type"] != WEBHOOK))


def _refuse_repeated(entries: Sequence[Object]) -> None:
    names = [str(entry.get("name") or "") for entry in entries]
    types = [str(entry.get("type")) for entry in entries if entry.get("type") != WEBHOOK]
    for listed, what in ((names, "name"), (types, "type")):
        for each in listed:
            if listed.count(each) > 1:
                raise ValueError(f"authorizers: {what} {each!r} is there twice")
    if "" in names:
        raise ValueError("authorizers: name is required")


def _authorizer(entry: Object, seams: Seams, own: Own) -> Authorizer:
    if entry.get("type") == WEBHOOK:
        return _webhook(str(entry["name"]), entry.get("webhook") or {}, seams)
    found = own.get(str(entry.get("type")))
    if found is None:
        known = ", ".join(f'"{name}"' for name in sorted({*own, WEBHOOK}))
        raise ValueError(f"authorizers: type {entry.get('type')!r} is unknown; there are {known}")
    return found


def _webhook(name: str, config: Object, seams: Seams) -> Authorizer:
    where = f"authorizer {name!r}"
    connection = config.get("connectionInfo") or {}
    if connection.get("type") != "KubeConfigFile" or not connection.get("kubeConfigFile"):
        raise ValueError(f"{where}: connectionInfo must name a KubeConfigFile")
    if config.get("failurePolicy") not in ("NoOpinion", "Deny"):
        raise ValueError(f'{where}: failurePolicy must be "NoOpinion" or "Deny"')
    if config.get("subjectAccessReviewVersion") not in ("v1", None):
        raise ValueError(f"{where}: only v1 of SubjectAccessReview is supported")
    timeout_s = seconds(config.get("timeout") or "")
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise ValueError(f"{where}: timeout must be more than 0s and at most 30s")
    failing = Decision(DENY, f"{name}: webhook failed") if _denies(config) else NONE
    asked = WebhookAuthorizer(
        seams,
        {
            "kubeconfig": connection["kubeConfigFile"],
            "timeout_s": timeout_s,
            "allowed_ttl_s": _ttl_s(config, "authorizedTTL", "cacheAuthorizedRequests", "5m"),
            "other_ttl_s": _ttl_s(config, "unauthorizedTTL", "cacheUnauthorizedRequests", "30s"),
        },
        failing,
    )
    conditions = config.get("matchConditions") or ()
    return MatchConditions(conditions, asked, failing) if conditions else asked


def _denies(config: Object) -> bool:
    return config.get("failurePolicy") == "Deny"


def _ttl_s(config: Object, ttl: str, cached: str, usual: str) -> float:
    return 0.0 if config.get(cached) is False else seconds(config.get(ttl) or usual)


def seconds(text: str) -> float:
    """Of a duration as Go writes it, "1m30s". Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is no duration")
    hours, minutes, rest, milli = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + rest + milli / 1000


class Following:
    """Takes a changed file into use: `replace` is given the authorizers in their new order."""

    def __init__(
        self,
        path: str,
        seams: Seams,
        own: Own,
        first: Configured,
        replace: Callable[[Sequence[Authorizer]], None],
    ) -> None:
        self._path, self._seams, self._own = path, seams, own
        self._fixed, self._replace = first.fixed, replace

    async def use(self, text: bytes) -> None:
        found = parse(text, self._path, self._seams, self._own)
        if found.fixed != self._fixed:
            shown = ", ".join(sorted(found.fixed ^ self._fixed))
            raise ValueError(f"authorizers: {shown} cannot come or go while the server runs")
        self._replace(found.authorizers)
