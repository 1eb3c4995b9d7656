"""What an API server serves, asked from the server itself: custom resources included."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from cluster.client import Client
from cluster.machinery import meta
from cluster.machinery.codec import json_codec
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError, failure

Object = dict[str, Any]


async def every_version(client: Client) -> list[Resource]:
    """Every resource in every version, those of a group's preferred version first.

    Raises ApiError if any part fails.
    """
    groups = (await _get(client, "/apis"))["groups"]
    paths = ["/api/v1", *(f"/apis/{v['groupVersion']}" for g in groups for v in _versions(g))]
    lists = await asyncio.gather(*(_get(client, path) for path in paths))
    return [
        _resource(item["groupVersion"], entry)
        for item in lists
        for entry in item.get("resources") or ()
        if "/" not in entry["name"]
    ]


def preferred(resources: Iterable[Resource]) -> list[Resource]:
    """Each resource once: in the first version that has it, for a group's preferred version need
    not have them all."""
    found: dict[str, Resource] = {}
    for resource in resources:
        found.setdefault(resource.group_resource, resource)
    return list(found.values())


async def served(client: Client) -> list[Resource]:
    """Every resource, once."""
    return preferred(await every_version(client))


def _versions(group: Object) -> list[Object]:
    first: Object = group["preferredVersion"]
    return [first, *(v for v in group["versions"] if v != first)]


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
