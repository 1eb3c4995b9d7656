"""From the old form of discovery to the aggregated one: every API server has at least the old."""

from __future__ import annotations

from typing import Any

from cluster.apiserver.discovery import aggregated

Document = dict[str, Any]


def version(document: Document, group: str, name: str) -> Document:
    """The entry of a version, from its APIResourceList. Raises KeyError, TypeError, ...

    Freshness is for the caller to say.
    """
    listed = document.get("resources") or []
    found = {r["name"]: _resource(r, group, name) for r in listed if "/" not in r["name"]}
    for each in listed:
        plural, slash, below = each["name"].partition("/")
        if slash and plural in found:
            entry = {
                "subresource": below,
                "responseKind": _kind(each, group, name),
                "verbs": list(each.get("verbs") or ()),
            }
            found[plural].setdefault("subresources", []).append(entry)
    return {"version": name, "resources": list(found.values())}


def _resource(listed: Document, group: str, version: str) -> Document:
    entry: Document = {
        "resource": listed["name"],
        "responseKind": _kind(listed, group, version),
        "scope": "Namespaced" if listed.get("namespaced") else "Cluster",
        "singularResource": listed.get("singularName") or "",
        "verbs": list(listed.get("verbs") or ()),
    }
    for name in ("shortNames", "categories"):
        if listed.get(name):
            entry[name] = list(listed[name])
    return entry


def _kind(listed: Document, group: str, version: str) -> Document:
    own = listed.get("version")
    return aggregated.kind(
        listed.get("group") or ("" if own else group), own or version, listed["kind"]
    )
