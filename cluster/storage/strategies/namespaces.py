"""Namespaces: they stay Terminating until the namespace controller has emptied them."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy, keep, keep_all_but_managers

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    selectable = ("status.phase",)
    has_status = True

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Active"}
        obj["spec"] = {"finalizers": [FINALIZER]}
        _label(obj)

    def prepare_update(self, new: Object, old: Object) -> None:
        keep(new, old, "status")
        keep(new, old, "spec")
        _label(new)

    def prepare_other(self, new: Object, old: Object, subresource: str) -> None:
        """`/finalize` writes spec.finalizers and nothing else."""
        finalizers = (new.get("spec") or {}).get("finalizers")
        keep_all_but_managers(new, old)
        keep(new, old, "status")
        new["spec"] = {"finalizers": finalizers} if finalizers else {}

    def mark_terminating(self, obj: Object) -> None:
        obj.setdefault("status", {})["phase"] = "Terminating"

    def holders(self, obj: Object) -> Iterable[str]:
        own = (obj.get("spec") or {}).get("finalizers") or ()
        return [*own, *super().holders(obj)]


def _label(obj: Object) -> None:
    metadata = obj["metadata"]
    if metadata.get("name"):  # validation misses it
        metadata["labels"] = (metadata.get("labels") or {}) | {NAME_LABEL: metadata["name"]}
