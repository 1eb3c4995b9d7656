"""What an API server serves, asked from the server itself: custom resources included."""

from __future__ import annotations

import asyncio
from typing import Any

from cluster.client import Client
from cluster.machinery import meta
from cluster.machinery.codec import json_codec
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError, failure

Object = dict[str, Any]


async def served(client: Client) -> list[Resource]:
    """Every resource of each group's preferred version. Raises ApiError if any part fails."""
    groups = (await _get(client, "/apis"))["groups"]
    paths = ["/api/v1", *(f"/apis/{g['preferredVersion']['groupVersion']}" for g in groups)]
    lists = await asyncio.gather(*(_get(client, path) for path in paths))
    return [
        _resource(item["groupVersion"], entry)
        for item in lists
        for entry in item.get("resources") or ()
        if "/" not in entry["name"]
    ]


async def _get(client: Client, path: str) -> Object:
    response = await client.raw("GET", path)
    body = json_codec.decode(response.body)
    if response.status != 200:
        if body.get("kind") == "Status":
            raise ApiError(body)
        raise failure(response.status, "Unknown", f"GET {path}: {response.status}")
    return body


def _resource(group_version: str, entry: Object) -> Resource:
    group, version = meta.group_version(group_version)
    return Resource(
        group=group,
        version=version,
        plural=entry["name"],
        kind=entry["kind"],
        namespaced=bool(entry["namespaced"]),
        singular=entry.get("singularName") or entry["kind"].lower(),
        short_names=tuple(entry.get("shortNames") or ()),
        categories=tuple(entry.get("categories") or ()),
        verbs=tuple(entry.get("verbs") or ()),
        subresources=(),
    )
