"""Events live under a lease, and are two views of one object: core/v1 and events.k8s.io/v1."""

from __future__ import annotations

from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy

_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


class EventStrategy(Strategy):
    selectable = (
        *(f"involvedObject.{part}" for part in _REFERENCE),
        "reason",
        "reportingComponent",
        "source",
        "type",
    )
    expires = True
    creates_on_update = True

    def fields(self, obj: Object) -> dict[str, str]:
        """`source` is the component, wherever the event says it."""
        found = super().fields(obj)
        source = (obj.get("source") or {}).get("component")
        return found | {"source": source or obj.get("reportingComponent") or ""}


class NewEventStrategy(Strategy):
    """events.k8s.io/v1."""

    selectable = (
        *(f"regarding.{part}" for part in _REFERENCE),
        "reason",
        "reportingController",
        "type",
    )
    expires = True
    creates_on_update = True
