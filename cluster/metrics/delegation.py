"""Who asks and whether they may: the cluster's API server says both, as for every extension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver.authn.request_header import FrontProxyAuthenticator
from cluster.apiserver.authn.user import User
from cluster.apiserver.authz.attributes import Attributes, refusal
from cluster.apiserver.http.messages import Request
from cluster.client import Client
from cluster.machinery import resources, status

MASTERS = "system:masters"
REMEMBERED = 1024
KEPT_S = 10.0
REVIEWS = resources.find("authorization.k8s.io/v1/subjectaccessreviews")


class Delegation:
    """Answers are kept for a few seconds. Raises ApiError and what the client raises."""

    def __init__(self, client: Client, seams: Seams, request_header: Mapping[str, Any]) -> None:
        """`request_header`: see `FrontProxyAuthenticator`."""
        self._client, self._clock = client, seams.clock
        self._front = FrontProxyAuthenticator(request_header)
        self._known: dict[Attributes, tuple[float, bool]] = {}

    async def identify(self, request: Request) -> User:
        """Whom the front proxy vouches for; 401 for everybody else."""
        user = await self._front.identify(request)
        if user is None:
            raise status.unauthorized()
        return user

    async def check(self, asked: Attributes) -> None:
        """403 if the user may not."""
        if MASTERS in asked.user.groups:
            return
        known = self._known.get(asked)
        if known is None or known[0] < self._clock.now():
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[asked] = self._clock.now() + KEPT_S, await self._ask(asked)
        if not known[1]:
            raise refusal(asked)

    async def _ask(self, asked: Attributes) -> bool:
        user = asked.user
        spec: dict[str, Any] = {"user": user.name, "groups": list(user.groups), "uid": user.uid}
        spec["extra"] = {key: list(values) for key, values in user.extra}
        if asked.resource:
            names = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
            spec["resourceAttributes"] = {n: getattr(asked, n) for n in names}
        else:
            spec["nonResourceAttributes"] = {"path": asked.path, "verb": asked.verb}
        review = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
                  "spec": spec}  # fmt: skip
        answer = await self._client.create(REVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))
