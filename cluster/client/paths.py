"""The URLs of the API: resource, namespace, name and subresource to path and query."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from cluster.machinery import resources
from cluster.machinery.resources import Resource


def resource_of(named: str | Resource) -> Resource:
    """A Resource as it is, or the one of that name. Raises KeyError for an unknown name."""
    return named if isinstance(named, Resource) else resources.find(named)


def path(resource: Resource, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """`/api/v1/namespaces/NS/pods/NAME/log` and the like; no namespace means all of them."""
    parts = ["apis" if resource.group else "api", resource.api_version]
    if namespace and resource.namespaced:
        parts += ["namespaces", quote(namespace, safe="")]
    parts += [resource.plural]
    parts += [quote(part, safe="") for part in (name, subresource) if part]
    return "/" + "/".join(parts)


def with_query(target: str, query: Mapping[str, str | int | None]) -> str:
    """Parameters that are None or empty are left out."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{target}?{urlencode(given)}" if given else target
