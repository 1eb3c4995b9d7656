"""Who may ask this kubelet: the API server is asked, as upstream's webhook mode does.

A certificate of the cluster's authority says who asks and nothing more: users have such too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.client import Client
from cluster.kubelet.http_server import Request
from cluster.machinery.resources import find

MASTERS = "system:masters"
ALLOWED_S, REFUSED_S = 300.0, 30.0
REMEMBERED = 1024
SUBRESOURCES = {"stats": "stats", "metrics": "metrics", "logs": "log", "pods": "pods",
                "healthz": "healthz"}  # fmt: skip
COMMANDS = ("exec", "attach", "run", "portForward")
REVIEWS = find("authorization.k8s.io/v1/subjectaccessreviews")


class DelegatedAuthorization:
    """Answers are kept for a while. Raises ApiError or ClientError if there is none."""

    def __init__(self, client: Client, seams: Seams, node_name: str) -> None:
        self._client, self._clock, self._node_name = client, seams.clock, node_name
        self._known: dict[tuple[str, tuple[str, ...], str, str], tuple[float, bool]] = {}

    async def may(self, request: Request) -> bool:
        """A verb on nodes/SUBRESOURCE of this node, by the first part of the path."""
        user, groups = identity(request.peer or {})
        if MASTERS in groups:
            return True
        subresource, verb = asked_for(request)
        key = user, groups, subresource, verb
        known = self._known.get(key)
        if known is not None and known[0] > self._clock.now():
            return known[1]
        allowed = bool(user) and await self._ask(user, groups, subresource, verb)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        ttl_s = ALLOWED_S if allowed else REFUSED_S
        self._known[key] = self._clock.now() + ttl_s, allowed
        return allowed

    async def _ask(self, user: str, groups: tuple[str, ...], subresource: str, verb: str) -> bool:
        attributes = {"verb": verb, "resource": "nodes", "version": "v1"}
        attributes |= {"subresource": subresource, "name": self._node_name}
        spec = {"user": user, "groups": [*groups, "system:authenticated"]}
        review = {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {**spec, "resourceAttributes": attributes},
        }
        answer = await self._client.create(REVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))


def asked_for(request: Request) -> tuple[str, str]:
    """(subresource of nodes, verb). To run something is to create, whatever the method: a
    WebSocket begins with a GET, and who may read must not be able to run commands."""
    first = request.path.strip("/").partition("/")[0]
    if first in COMMANDS:
        return "proxy", "create"
    verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    return SUBRESOURCES.get(first, "proxy"), verb.get(request.method, "get")


def identity(certificate: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """(common name, organisations) of a certificate in `ssl.getpeercert` form."""
    pairs = [pair for relative in certificate.get("subject", ()) for pair in relative]
    names = [value for key, value in pairs if key == "commonName"]
    groups = tuple(value for key, value in pairs if key == "organizationName")
    return (names[0] if names else ""), groups
