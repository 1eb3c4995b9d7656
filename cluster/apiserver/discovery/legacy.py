"""The old form: lists of groups and versions, and one document of resources a version."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.machinery.resources import Resource, Subresource
from cluster.storage import keys

Document = dict[str, Any]


def with_type(kind: str, document: Document) -> Document:
    return {"kind": kind, "apiVersion": "v1", **document}


def group(name: str, versions: Sequence[str]) -> Document:
    """`versions`: the preferred first."""
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def resource_list(
    group_version: str, listed: Sequence[Resource], storage: Mapping[str, str] | None = None
) -> Document:
    """`storage`: the apiVersion in which objects are stored, by group resource, where the tables
    do not have it; None if nothing is stored at all.
    """
    entries: list[Document] = []
    for each in sorted(listed, key=lambda r: r.plural):
        entry = _resource(each)
        if storage is not None and {"create", "list"} <= set(each.verbs):
            known = storage.get(each.group_resource, "")
            entry["storageVersionHash"] = _storage_hash(each, known)
        entries.append(entry)
        entries += [_subresource(each, s) for s in each.subresources]
    document = {"groupVersion": group_version, "resources": entries}
    return with_type("APIResourceList", document)


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


def _storage_hash(resource: Resource, storage: str) -> str:
    """Upstream's discovery.StorageVersionHash: of "group/version/kind" as it is stored."""
    kept = keys.stored_as(resource)
    group_version = storage or kept.api_version
    text = f"{group_version if '/' in group_version else '/' + group_version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


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
