"""Keys of the store: `/registry/<plural or group/plural>/<namespace>/<name>`."""

from __future__ import annotations

from cluster.machinery import conversion, resources
from cluster.machinery.resources import Resource

ROOT = "/registry/"
CLAIMS = ROOT + "ranges/"
"""Cluster IPs and node ports that are taken, one key each."""
ENDPOINT_LEASES = ROOT + "apiservers/"
"""One key per live API server, under a lease."""

_VIEWED = frozenset(name.rpartition("/")[2] for name in conversion.STORED)


def prefix(resource: Resource, namespace: str = "") -> str:
    """Of all objects of a resource, or of those in one namespace. Ends with a slash."""
    kept = stored_as(resource)
    base = f"{ROOT}{kept.group}/" if kept.group else ROOT
    base = f"{base}{kept.plural}/"
    return f"{base}{namespace}/" if namespace and resource.namespaced else base


def stored_as(resource: Resource) -> Resource:
    """The resource whose version the store holds: itself, unless it is a view of another."""
    if resource.plural not in _VIEWED:
        return resource
    name = conversion.STORED.get(f"{resource.api_version}/{resource.plural}")
    return resource if name is None else resources.find(name)


def key(resource: Resource, namespace: str, name: str) -> str:
    """Of one object."""
    return prefix(resource, namespace) + name


def prefix_end(text: str) -> bytes:
    """The first key after all keys with this prefix (which ends with a slash)."""
    return text[:-1].encode() + b"0"
