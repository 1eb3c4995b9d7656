"""Events: core/v1 and events.k8s.io/v1 name the same fields differently."""

from __future__ import annotations

from cluster.machinery.meta import Object

_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_CORE_NAMES = {new: core for core, new in _NEW_NAMES.items()}
CORE, NEW = "v1", "events.k8s.io/v1"


def to_new(event: Object) -> Object:
    """The events.k8s.io/v1 form."""
    return {_NEW_NAMES.get(k, k): v for k, v in event.items()} | {"apiVersion": NEW}


def to_core(event: Object) -> Object:
    """The core/v1 form."""
    found = {_CORE_NAMES.get(k, k): v for k, v in event.items()} | {"apiVersion": CORE}
    found.setdefault("involvedObject", {})
    return found
