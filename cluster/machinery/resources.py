"""Every resource of the API: its names, scope, verbs and subresources (from the tables)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cluster.machinery import meta, tables


@dataclass(frozen=True, slots=True)
class Subresource:
    """`deployments/scale`: its own kind (autoscaling/v1 Scale) and verbs."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]

    @property
    def api_version(self) -> str:
        """Of the subresource's kind, which may belong to another group."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind under one group and version, as it is served."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    verbs: tuple[str, ...]
    subresources: tuple[Subresource, ...]
    listed_as: str = ""

    @property
    def list_kind(self) -> str:
        """The kind of a list; a custom resource may call it something of its own."""
        return self.listed_as or f"{self.kind}List"

    @property
    def api_version(self) -> str:
        """ "apps/v1", or "v1" for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """ "deployments.apps", or "pods" for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """ "Deployment.apps", or "Pod" for the core group."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def stable(self) -> bool:
        """Neither alpha nor beta: those are off unless asked for."""
        return "alpha" not in self.version and "beta" not in self.version

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name."""
        return next((s for s in self.subresources if s.name == name), None)


def _resource(row: dict[str, Any]) -> Resource:
    group, version = meta.group_version(row["group_version"])
    return Resource(
        group=group,
        version=version,
        plural=row["plural"],
        kind=row["kind"],
        namespaced=row["namespaced"],
        singular=row["kind"].lower(),
        short_names=tuple(row["short_names"]),
        categories=tuple(row["categories"]),
        verbs=tuple(row["verbs"]),
        subresources=tuple(_subresource(s) for s in row["subresources"]),
    )


def _subresource(row: list[Any]) -> Subresource:
    name, api_version, kind, verbs = row
    return Subresource(name, *meta.group_version(api_version), kind, tuple(verbs))


ALL: tuple[Resource, ...] = tuple(_resource(row) for row in tables.load("resources.json"))
"""Alpha and beta versions included; a server serves the `stable` ones unless told otherwise."""


def _preference(resource: Resource) -> tuple[bool, bool, int]:
    """The core group first, then stable versions, then the newer ("v2" before "v1")."""
    digits = resource.version.removeprefix("v").split("alpha")[0].split("beta")[0]
    return resource.group != "", not resource.stable, -int(digits)


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Resource]:
    names: dict[str, Resource] = {}
    for resource in sorted(ALL, key=_preference):
        names.setdefault(resource.plural, resource)
        names.setdefault(resource.group_resource, resource)
        names[f"{resource.api_version}/{resource.plural}"] = resource
    return names


@lru_cache(maxsize=1)
def _by_kind() -> dict[tuple[str, str], Resource]:
    return {(r.api_version, r.kind): r for r in ALL}


def find(name: str) -> Resource:
    """By "pods", "deployments.apps" or "apps/v1/deployments"; KeyError when there is none."""
    return _by_name()[name]


def for_kind(api_version: str, kind: str) -> Resource | None:
    """The resource whose objects have this apiVersion and kind."""
    return _by_kind().get((api_version, kind))
