"""What an API server serves, asked from the server itself: custom and aggregated resources too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.client import Client
from cluster.machinery import meta, resources
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError, failure

Object = dict[str, Any]

FORM = "APIGroupDiscoveryList"
ACCEPT = ",".join(
    [
        *(f"application/json;g=apidiscovery.k8s.io;v={v};as={FORM}" for v in ("v2", "v2beta1")),
        "application/json",
    ]
)
UNABLE = "unable to retrieve the complete list of server APIs"


@dataclass(frozen=True)
class Served:
    """Every resource in every version, those of a group's preferred version first.

    `failed`: versions of which nothing is known now, for the server behind them does not answer.
    """

    resources: tuple[Resource, ...]
    failed: Mapping[str, str]

    @property
    def problem(self) -> str:
        """What is missing, in client-go's words; "" if nothing is."""
        if not self.failed:
            return ""
        told = ", ".join(f"{name}: {text}" for name, text in sorted(self.failed.items()))
        return f"Discovery failed for some groups, {len(self.failed)} failing: {UNABLE}: {told}"

    @property
    def preferred(self) -> list[Resource]:
        """Each resource once: in the first version that has it, for a group's preferred version
        need not have them all."""
        found: dict[str, Resource] = {}
        for resource in self.resources:
            found.setdefault(resource.group_resource, resource)
        return list(found.values())


async def served(client: Client) -> Served:
    """Raises ApiError if the server itself does not tell."""
    core, groups = await asyncio.gather(_get(client, "/api"), _get(client, "/apis"))
    if groups.get("kind") != FORM:
        return await _one_by_one(client, groups)
    found: list[Resource] = []
    failed: dict[str, str] = {}
    for group in [*core["items"], *groups["items"]]:
        name = group["metadata"].get("name") or ""
        for version in group["versions"]:
            full = f"{name}/{version['version']}" if name else version["version"]
            if version.get("freshness") == "Stale":
                failed[full] = f"stale GroupVersion discovery: {full}"
            else:
                found += _aggregated(full, version.get("resources") or ())
    return Served(tuple(found), failed)


async def of_kind(client: Client, api_version: str, kind: str) -> Resource:
    """The resource of a kind; custom and aggregated ones are asked for. 404 if there is none."""
    known = resources.for_kind(api_version, kind)
    if known is not None:
        return known
    answer = await _get(client, f"/apis/{api_version}")
    found = [r for r in _listed(api_version, answer.get("resources") or ()) if r.kind == kind]
    if not found:
        raise failure(404, "NotFound", f"no matches for kind {api_version} {kind}")
    return found[0]


async def _one_by_one(client: Client, groups: Object) -> Served:
    """Of servers that know the old form only (before 1.27)."""
    names = ["v1", *(v["groupVersion"] for g in groups["groups"] for v in _versions(g))]
    paths = [f"/apis/{name}" if "/" in name else f"/api/{name}" for name in names]
    answers = await asyncio.gather(*(_get(client, p) for p in paths), return_exceptions=True)
    found: list[Resource] = []
    failed: dict[str, str] = {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, ApiError):
            failed[name] = answer.message
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found += _listed(name, answer.get("resources") or ())
    return Served(tuple(found), failed)


def _versions(group: Object) -> list[Object]:
    first: Object = group["preferredVersion"]
    return [first, *(v for v in group["versions"] if v != first)]


async def _get(client: Client, path: str) -> Object:
    response = await client.raw("GET", path, headers={"Accept": ACCEPT})
    try:
        body = json_codec.decode(response.body)
    except BadRequest:  # a server behind this one says so in plain text
        body = {}
    if response.status != 200:
        if body.get("kind") == "Status":
            raise ApiError(body)
        text = "the server is currently unable to handle the request"
        raise failure(response.status, "ServiceUnavailable", text)
    return body


def _aggregated(group_version: str, entries: Iterable[Object]) -> Iterator[Resource]:
    for entry in entries:
        kind = (entry.get("responseKind") or {}).get("kind") or ""
        namespaced = entry.get("scope") == "Namespaced"
        yield _resource(group_version, entry["resource"], kind, namespaced, entry)


def _listed(group_version: str, entries: Iterable[Object]) -> Iterator[Resource]:
    for entry in entries:
        if "/" not in entry["name"]:
            namespaced = bool(entry["namespaced"])
            yield _resource(group_version, entry["name"], entry["kind"], namespaced, entry)


def _resource(
    group_version: str, plural: str, kind: str, namespaced: bool, entry: Object
) -> Resource:
    group, version = meta.group_version(group_version)
    singular = entry.get("singularName") or entry.get("singularResource") or kind.lower()
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=namespaced,
        singular=singular,
        short_names=tuple(entry.get("shortNames") or ()),
        categories=tuple(entry.get("categories") or ()),
        verbs=tuple(entry.get("verbs") or ()),
        subresources=(),
    )
