"""Persistent volumes and claims start out pending, and are kept while they are in use."""

from __future__ import annotations

from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy


class VolumeStrategy(Strategy):
    """Persistent volumes and their claims."""

    selectable = ("name",)
    has_status = True
    returns_deleted = True

    def fields(self, obj: Object) -> dict[str, str]:
        return {"name": obj["metadata"].get("name", "")}

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending"}
