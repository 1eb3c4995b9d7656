"""The aggregated form: one document of all groups (apidiscovery.k8s.io)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.machinery.resources import Resource

Document = dict[str, Any]

GROUP = "apidiscovery.k8s.io"
VERSIONS = ("v2", "v2beta1")
LIST_KIND = "APIGroupDiscoveryList"


def document(version: str, groups: Sequence[Document]) -> Document:
    """`version`: of the form itself."""
    return {
        "kind": LIST_KIND,
        "apiVersion": f"{GROUP}/{version}",
        "metadata": {},
        "items": list(groups),
    }


def group(name: str, versions: Sequence[Document]) -> Document:
    """`versions`: the preferred first."""
    metadata: Document = {"creationTimestamp": None}
    if name:
        metadata["name"] = name
    return {"metadata": metadata, "versions": list(versions)}


def version(name: str, listed: Sequence[Resource]) -> Document:
    """A version that this server serves."""
    return {
        "version": name,
        "resources": [_resource(r) for r in sorted(listed, key=lambda r: r.plural)],
        "freshness": "Current",
    }


def _resource(resource: Resource) -> Document:
    entry: Document = {
        "resource": resource.plural,
        "responseKind": kind(resource.group, resource.version, resource.kind),
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
                "responseKind": kind(s.group, s.version, s.kind),
                "verbs": list(s.verbs),
            }
            for s in resource.subresources
        ]
    return entry


def kind(group: str, version: str, name: str) -> Document:
    return {"group": group, "version": version, "kind": name}
