"""Tokens for the pods of this node: asked for, kept while they are fresh, and asked for again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.client import Client
from cluster.machinery import meta

Object = dict[str, Any]

TOKENS = "serviceaccounts/token"
"""The kind of reference by which a volume names a token; its name is `reference`."""
OLD = 0.8
"""Of its life: then a token is replaced (upstream's kubelet does so too, or after a day)."""
MAX_AGE_S = 24 * 3600.0
DEFAULT_S = 3600


def reference(source: Object) -> tuple[str, str]:
    """Of a projected serviceAccountToken."""
    seconds = source.get("expirationSeconds") or DEFAULT_S
    return TOKENS, f"{seconds} {source.get('audience') or ''}"


@dataclass(frozen=True, slots=True)
class _Held:
    token: Object
    renew_s: float


class Tokens:
    """By pod and reference. What a pod held is forgotten with it."""

    def __init__(self, client: Client, seams: Seams) -> None:
        self._client, self._seams = client, seams
        self._held: dict[str, dict[str, _Held]] = {}

    async def get(self, pod: Object, name: str) -> Object:
        """The TokenRequest, answered. Raises ApiError or ClientError."""
        held = self._held.setdefault(pod["metadata"]["uid"], {})
        found = held.get(name)
        if found is None or found.renew_s <= self._seams.clock.wall():
            found = held[name] = await self._request(pod, name)
        return found.token

    def due_s(self, uid: str) -> float | None:
        """When (wall time) the first token of a pod has to be replaced."""
        return min((held.renew_s for held in self._held.get(uid, {}).values()), default=None)

    def forget(self, uid: str) -> None:
        self._held.pop(uid, None)

    async def _request(self, pod: Object, name: str) -> _Held:
        seconds, _, audience = name.partition(" ")
        metadata = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"]}
        spec: Object = {
            "audiences": [audience] if audience else [],
            "expirationSeconds": int(seconds),
            "boundObjectRef": bound | {"uid": metadata["uid"]},
        }
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        account = pod["spec"].get("serviceAccountName") or "default"
        answer = await self._client.create(
            "serviceaccounts", request, metadata["namespace"], subresource="token", name=account
        )
        now_s = self._seams.clock.wall()
        life_s = meta.parse_time(answer["status"]["expirationTimestamp"]) - now_s
        jitter = self._seams.randomness.uniform(0.95, 1.0)
        return _Held(answer, now_s + min(life_s * OLD, MAX_AGE_S) * jitter)
