"""The scale subresource of any kind that has one, custom kinds too."""

from __future__ import annotations

from typing import Any

from cluster.client import Client
from cluster.client.paths import path
from cluster.controllers import discovery
from cluster.machinery.codec import json_codec
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError

Object = dict[str, Any]
LIMIT = 1000


class Scales:
    """Remembers the resources of kinds; one that turns out to be wrong is asked for again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, str], Resource] = {}

    async def get(self, reference: Object, namespace: str) -> tuple[Resource, Object]:
        """The resource of what a reference (apiVersion, kind, name) names, and its Scale. Raises
        ApiError: 404 if there is no such kind, or object, or its kind has no scale."""
        kind = reference["apiVersion"], reference["kind"]
        resource = self._known.get(kind) or await discovery.of_kind(self._client, *kind)
        target = path(resource, namespace, reference["name"], "scale")
        answer = await self._client.raw("GET", target)
        scale = json_codec.decode(answer.body)
        if answer.status != 200:
            self._known.pop(kind, None)
            raise ApiError({"code": answer.status, **scale})
        if len(self._known) >= LIMIT:
            self._known.clear()
        self._known[kind] = resource
        return resource, scale
