"""The webhook authorizer: SubjectAccessReviews are posted to it, answers kept for a while."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver.authz.attributes import (
    ALLOW,
    DENY,
    NO_OPINION,
    NONE,
    Attributes,
    Decision,
)
from cluster.apiserver.expiring import Expiring
from cluster.apiserver.remote import TIMEOUT_S, KubeconfigWebhook, RemoteError

log = logging.getLogger(__name__)

API_VERSION = "authorization.k8s.io/v1"
ALLOWED_TTL_S, OTHER_TTL_S = 300.0, 30.0
REMEMBERED = 8192


class WebhookAuthorizer:
    """Config: kubeconfig (a file), timeout_s (10), allowed_ttl_s (300), other_ttl_s (30).

    `failing` is decided when it does not answer; usually it has no opinion then: others decide,
    and in the end nobody.
    """

    def __init__(self, seams: Seams, config: Mapping[str, Any], failing: Decision = NONE) -> None:
        timeout_s = float(config.get("timeout_s") or TIMEOUT_S)
        self._webhook = KubeconfigWebhook(seams, config["kubeconfig"], timeout_s)
        self._failing = failing
        self._allowed_ttl_s = float(config.get("allowed_ttl_s", ALLOWED_TTL_S))
        self._other_ttl_s = float(config.get("other_ttl_s", OTHER_TTL_S))
        self._known: Expiring[Decision] = Expiring(seams.clock, REMEMBERED)

    async def decide(self, asked: Attributes) -> Decision:
        found = self._known.get(asked)
        if found is not None:
            return found
        try:
            answer = await self._webhook.post(review(asked))
        except RemoteError as error:
            log.warning("the authorization webhook does not answer: %s", error)
            return self._failing
        decision = _decision(answer.get("status") or {})
        ttl_s = self._allowed_ttl_s if decision.allowed else self._other_ttl_s
        if ttl_s:
            self._known.put(asked, decision, ttl_s)
        return decision


def review(asked: Attributes) -> dict[str, Any]:
    """The question as a SubjectAccessReview."""
    info = asked.user.to_info()
    spec: dict[str, Any] = {"user": info.pop("username"), **info}
    if asked.resource:
        parts = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
        found = {part: getattr(asked, part) for part in parts if getattr(asked, part)}
        spec["resourceAttributes"] = found
    else:
        spec["nonResourceAttributes"] = {"verb": asked.verb, "path": asked.path}
    return {"kind": "SubjectAccessReview", "apiVersion": API_VERSION, "spec": spec}


def _decision(status: Mapping[str, Any]) -> Decision:
    reason = str(status.get("reason") or "")
    if status.get("allowed"):
        return Decision(ALLOW, reason)
    return Decision(DENY if status.get("denied") else NO_OPINION, reason)
