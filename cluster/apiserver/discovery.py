"""Discovery: what is served, in the old form (one document a version) and in the aggregated one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.negotiation import JSON, MediaType, parse_accept
from cluster.machinery import resources, status
from cluster.machinery.codec import json_codec
from cluster.machinery.customresources.definition import version_order
from cluster.machinery.resources import Resource, Subresource

GROUP = "apidiscovery.k8s.io"
VERSIONS = ("v2", "v2beta1")
LIST_KIND = "APIGroupDiscoveryList"
Document = dict[str, Any]


class CurrentDiscovery:
    """Documents of what the catalogue holds; made anew on the first request after a change."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._made: tuple[int, Discovery] | None = None

    @property
    def _current(self) -> Discovery:
        generation = self._catalogue.generation
        if self._made is None or self._made[0] != generation:
            self._made = generation, Discovery(self._catalogue.resources)
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

    def __init__(self, served: Sequence[Resource]) -> None:
        shown = [*served, resources.find("v1/bindings")]
        self._paths: dict[str, bytes] = {}
        self._aggregated: dict[tuple[str, str], bytes] = {}
        versions: dict[str, list[Resource]] = {}
        for resource in shown:
            versions.setdefault(resource.api_version, []).append(resource)
        groups = sorted({r.group for r in shown if r.group})
        self._add("/api", {"kind": "APIVersions", "versions": ["v1"]})
        group_documents = [_group(name, versions) for name in groups]
        self._add("/apis", {"kind": "APIGroupList", "apiVersion": "v1", "groups": group_documents})
        for document in group_documents:
            self._add(f"/apis/{document['name']}", _with_type("APIGroup", document))
        for name, listed in versions.items():
            root = f"/apis/{name}" if "/" in name else f"/api/{name}"
            self._add(root, _resource_list(name, listed))
        for version in VERSIONS:
            for path, names in (("/api", [""]), ("/apis", groups)):
                items = [_aggregated_group(name, versions) for name in names]
                self._aggregated[path, version] = json_codec.encode(
                    {
                        "kind": LIST_KIND,
                        "apiVersion": f"{GROUP}/{version}",
                        "metadata": {},
                        "items": items,
                    }
                )

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
        for clause in parse_accept(request.headers.get("accept", "") or JSON):
            response = self._offer(path, plain, clause)
            if response is not None:
                return response
        raise status.not_acceptable((JSON,))

    def _offer(self, path: str, plain: bytes, clause: MediaType) -> Response | None:
        if clause.name not in (JSON, "*/*", "application/*"):
            return None
        if not clause.parameter("as"):
            return Response(200, plain)
        version = clause.parameter("v")
        found = self._aggregated.get((path, version))
        if found is None or clause.parameter("as") != LIST_KIND or clause.parameter("g") != GROUP:
            return None
        content_type = f"{JSON};g={GROUP};v={version};as={LIST_KIND}"
        return Response(200, found, content_type, {"Vary": "Accept"})


def _with_type(kind: str, document: Document) -> Document:
    return {"kind": kind, "apiVersion": "v1", **document}


def _group(name: str, versions: dict[str, list[Resource]]) -> Document:
    entries = [
        {"groupVersion": gv, "version": gv.partition("/")[2]}
        for gv in versions
        if gv.partition("/")[0] == name and "/" in gv
    ]
    entries.sort(key=lambda entry: version_order(entry["version"]))
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _resource_list(group_version: str, listed: Sequence[Resource]) -> Document:
    entries: list[Document] = []
    for resource in sorted(listed, key=lambda r: r.plural):
        entries.append(_resource(resource))
        entries += [_subresource(resource, s) for s in resource.subresources]
    document = {"groupVersion": group_version, "resources": entries}
    return _with_type("APIResourceList", document)


def _resource(resource: Resource) -> Document:
    entry: Document = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return entry


def _subresource(resource: Resource, sub: Subresource) -> Document:
    entry: Document = {
        "name": f"{resource.plural}/{sub.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": sub.kind,
        "verbs": list(sub.verbs),
    }
    if sub.api_version != resource.api_version:
        entry |= {"group": sub.group, "version": sub.version}
    return entry


def _aggregated_group(name: str, versions: dict[str, list[Resource]]) -> Document:
    found = [
        {
            "version": listed[0].version,
            "resources": [_aggregated(r) for r in sorted(listed, key=lambda r: r.plural)],
            "freshness": "Current",
        }
        for listed in versions.values()
        if listed[0].group == name
    ]
    found.sort(key=lambda entry: version_order(str(entry["version"])))
    metadata: Document = {"creationTimestamp": None}
    if name:
        metadata["name"] = name
    return {"metadata": metadata, "versions": found}


def _aggregated(resource: Resource) -> Document:
    entry: Document = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": s.name,
                "responseKind": _kind(s.group, s.version, s.kind),
                "verbs": list(s.verbs),
            }
            for s in resource.subresources
        ]
    return entry


def _kind(group: str, version: str, kind: str) -> Document:
    return {"group": group, "version": version, "kind": kind}
