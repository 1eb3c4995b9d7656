"""Who owns whom, over all resources, from their metadata. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cluster.machinery.resources import Resource

Object = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True)
class Node:
    """One object: where it is, its owner references and how it is being deleted."""

    uid: str
    resource: Resource
    namespace: str
    name: str
    owners: tuple[Object, ...]
    finalizers: frozenset[str]
    deleting: bool
    version: str = ""
    """The resource version that this is about."""

    @classmethod
    def of(cls, resource: Resource, obj: Object) -> Node:
        metadata = obj["metadata"]
        return cls(
            metadata["uid"],
            resource,
            metadata.get("namespace", ""),
            metadata["name"],
            tuple(metadata.get("ownerReferences") or ()),
            frozenset(metadata.get("finalizers") or ()),
            bool(metadata.get("deletionTimestamp")),
            metadata.get("resourceVersion", ""),
        )

    @property
    def deletes_dependents(self) -> bool:
        """It waits in foreground deletion until those that block it are gone."""
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def orphans_dependents(self) -> bool:
        return self.deleting and ORPHAN in self.finalizers

    def owner_uids(self) -> set[str]:
        return {reference["uid"] for reference in self.owners}

    def blocks(self, owner_uid: str) -> bool:
        """Whether the owner's foreground deletion has to wait for this object."""
        return any(r["uid"] == owner_uid and r.get("blockOwnerDeletion") for r in self.owners)


class OwnershipGraph:
    """Objects by uid, and the dependents of each owner, whether or not the owner is known."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def dependents(self, uid: str) -> list[Node]:
        found = (self._nodes.get(other) for other in self._dependents.get(uid, ()))
        return [node for node in found if node is not None]

    def put(self, node: Node) -> set[str]:
        """Add or replace; the uids of objects to look at because of it."""
        old = self._nodes.get(node.uid)
        self._link(node.uid, old.owner_uids() if old else set(), node.owner_uids())
        self._nodes[node.uid] = node
        touched = set(self._waiting(node.owner_uids() | (old.owner_uids() if old else set())))
        unknown = any(uid not in self._nodes for uid in node.owner_uids())
        if unknown or self._waiting(node.owner_uids()):
            touched.add(node.uid)
        if node.deletes_dependents:
            touched |= {node.uid, *self._dependents.get(node.uid, ())}
        if node.orphans_dependents:
            touched.add(node.uid)
        return touched

    def remove(self, uid: str) -> set[str]:
        """Forget an object that is gone; the uids of its dependents and waiting owners."""
        old = self._nodes.pop(uid, None)
        owners = old.owner_uids() if old else set()
        self._link(uid, owners, set())
        return {*self._dependents.get(uid, ()), *self._waiting(owners)}

    def _waiting(self, owners: Iterable[str]) -> list[str]:
        found = (self._nodes.get(uid) for uid in owners)
        return [node.uid for node in found if node is not None and node.deletes_dependents]

    def _link(self, uid: str, old: set[str], new: set[str]) -> None:
        for owner in old - new:
            self._dependents[owner].discard(uid)
            if not self._dependents[owner]:
                del self._dependents[owner]
        for owner in new - old:
            self._dependents.setdefault(owner, set()).add(uid)
