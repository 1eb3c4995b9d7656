"""What happens in the cluster, as far as it may let a pod be scheduled that could not be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cluster.scheduler.model.pod_info import PodInfo

Object = dict[str, Any]


@dataclass(frozen=True)
class ClusterEvent:
    """`resource`: "nodes", "pods", "persistentvolumeclaims"...; `kind`: add, update or delete.

    add, update and delete of pods are told of pods with a node; of one that waits for a node,
    "pending". `old` is None on add, `new` on delete.
    """

    resource: str
    kind: str
    old: Object | None = None
    new: Object | None = None

    @property
    def obj(self) -> Object:
        """The newest state that is known."""
        return self.new or self.old or {}

    @cached_property
    def pod(self) -> PodInfo:
        """Of an event about a pod."""
        return PodInfo.of(self.obj)

    def is_(self, resource: str, *kinds: str) -> bool:
        return self.resource == resource and self.kind in kinds


Events = frozenset[tuple[str, str]]
"""(resource, kind): what a plugin wants to hear of."""


def events(**kinds: str) -> Events:
    """`events(nodes="add update", pods="delete")`; "__" stands for a dot."""
    return frozenset(
        (resource.replace("__", "."), kind)
        for resource, names in kinds.items()
        for kind in names.split()
    )
