"""Serves the documents; they are made anew on the first request after a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.discovery import aggregated, legacy
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.negotiation import JSON, PROTOBUF, MediaType, parse_accept
from cluster.machinery import status
from cluster.machinery.apiservices import order
from cluster.machinery.apiservices.order import Priority
from cluster.machinery.codec import json_codec, protobuf
from cluster.machinery.resources import Resource

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """What another server serves: `entry` is its version in the aggregated form."""

    group: str
    version: str
    entry: Document
    fresh: bool


class Others(Protocol):
    """What stands behind this server. `generation` changes whenever the rest does."""

    @property
    def generation(self) -> object: ...

    def remote_versions(self) -> Sequence[RemoteVersion]: ...

    def priority(self, group: str, version: str) -> Priority:
        """Of any version, remote or not."""
        ...


class CurrentDiscovery:
    """Documents of what the catalogue holds and of what others serve."""

    def __init__(self, catalogue: Catalogue, others: Others) -> None:
        self._catalogue, self._others = catalogue, others
        self._made: tuple[object, Discovery] | None = None

    @property
    def _current(self) -> Discovery:
        generation = self._catalogue.generation, self._others.generation
        if self._made is None or self._made[0] != generation:
            served = self._catalogue.resources
            made = Discovery(served, self._others, self._catalogue.storage_versions)
            self._made = generation, made
        return self._made[1]

    @property
    def paths(self) -> list[str]:
        """Every path that has a document."""
        return self._current.paths

    def answer(self, request: Request) -> Response | None:
        """None if the path has no discovery document."""
        if not request.path.startswith("/api"):
            return None
        return self._current.answer(request)


class Discovery:
    """The documents of one set of resources."""

    def __init__(
        self, served: Sequence[Resource], others: Others, storage: dict[str, str] | None = None
    ) -> None:
        """`storage`: see `Catalogue.storage_versions`."""
        self._paths: dict[str, bytes] = {}
        self._aggregated: dict[tuple[str, str], bytes] = {}
        own: dict[tuple[str, str], list[Resource]] = {}
        for resource in served:
            own.setdefault((resource.group, resource.version), []).append(resource)
        remote = {(r.group, r.version): r for r in others.remote_versions()}
        self._add_versions({k: v for k, v in own.items() if k not in remote}, storage or {})
        ranked = [(g, v, others.priority(g, v)) for g, v in {**own, **remote}]
        entries = {key: aggregated.version(key[1], listed) for key, listed in own.items()}
        entries |= {key: _entry(each) for key, each in remote.items()}
        self._add_groups(ranked, entries)

    def _add_versions(
        self, own: dict[tuple[str, str], list[Resource]], storage: dict[str, str]
    ) -> None:
        for (group, version), listed in own.items():
            name = f"{group}/{version}" if group else version
            root = f"/apis/{name}" if group else f"/api/{name}"
            self._add(root, legacy.resource_list(name, listed, storage))

    def _add_groups(
        self,
        ranked: Sequence[tuple[str, str, Priority]],
        entries: dict[tuple[str, str], Document],
    ) -> None:
        names = [name for name in order.groups(ranked) if name]
        by_group = {
            name: order.versions((v, p) for g, v, p in ranked if g == name) for name in ("", *names)
        }
        listed = [legacy.group(name, by_group[name]) for name in names]
        self._add("/api", {"kind": "APIVersions", "versions": ["v1"]})
        self._add("/apis", {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
        for document in listed:
            self._add(f"/apis/{document['name']}", legacy.with_type("APIGroup", document))
        for path, shown in (("/api", [""]), ("/apis", names)):
            groups = [
                aggregated.group(name, [entries[name, version] for version in by_group[name]])
                for name in shown
            ]
            for form in aggregated.VERSIONS:
                document = aggregated.document(form, groups)
                self._aggregated[path, form] = json_codec.encode(document)

    def _add(self, path: str, document: Document) -> None:
        self._paths[path] = json_codec.encode(document)

    @property
    def paths(self) -> list[str]:
        """Every path that has a document."""
        return sorted(self._paths)

    def answer(self, request: Request) -> Response | None:
        """None if the path has no discovery document."""
        path = request.path.rstrip("/")
        plain = self._paths.get(path)
        if plain is None:
            return None
        clauses = parse_accept(request.headers.get("accept", "") or JSON)
        for clause in clauses:
            response = self._offer(path, plain, clause)
            if response is not None:
                return response
        if MediaType(PROTOBUF) in clauses:  # of one who takes no JSON at all
            document = {"apiVersion": "v1", **json_codec.decode(plain)}  # /api does not say it
            return Response(200, protobuf.encode(document), PROTOBUF)
        raise status.not_acceptable((JSON, PROTOBUF))

    def _offer(self, path: str, plain: bytes, clause: MediaType) -> Response | None:
        if clause.name not in (JSON, "*/*", "application/*"):
            return None
        if not clause.parameter("as"):
            return Response(200, plain)
        version, group = clause.parameter("v"), clause.parameter("g")
        found = self._aggregated.get((path, version))
        wanted = clause.parameter("as") == aggregated.LIST_KIND and group == aggregated.GROUP
        if found is None or not wanted:
            return None
        content_type = f"{JSON};g={group};v={version};as={aggregated.LIST_KIND}"
        return Response(200, found, content_type, {"Vary": "Accept"})


def _entry(remote: RemoteVersion) -> Document:
    return {**remote.entry, "freshness": "Current" if remote.fresh else "Stale"}
