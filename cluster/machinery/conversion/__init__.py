"""Several versions of one object: the forms in which a stored object can be shown and written.

Belongs here: conversions between the built-in kinds that two API versions share. Does not:
custom resources, whose versions convert as their definition says.

A conversion loses nothing: what one form has no field for travels in another place, as upstream's
does, so that an object survives being read and written through either.
"""

from __future__ import annotations

from collections.abc import Callable

from cluster.machinery.conversion import autoscalers, events
from cluster.machinery.meta import Object

STORED = {
    "events.k8s.io/v1/events": "v1/events",
    "autoscaling/v1/horizontalpodautoscalers": "autoscaling/v2/horizontalpodautoscalers",
}
"""From what is served to the resource as which it is stored, where that is another."""

_CONVERSIONS: dict[tuple[str, str, str], Callable[[Object], Object]] = {
    ("Event", "v1", "events.k8s.io/v1"): events.to_new,
    ("Event", "events.k8s.io/v1", "v1"): events.to_core,
    ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2"): autoscalers.to_v2,
    ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1"): autoscalers.to_v1,
}


def convert(obj: Object, api_version: str) -> Object:
    """The object in another version; itself if it has that already. KeyError: there is no way."""
    if obj["apiVersion"] == api_version:
        return obj
    return _CONVERSIONS[obj["kind"], obj["apiVersion"], api_version](obj)


def convertible(kind: str, source: str, target: str) -> bool:
    """Whether objects of this kind have both forms."""
    return source == target or (kind, source, target) in _CONVERSIONS
