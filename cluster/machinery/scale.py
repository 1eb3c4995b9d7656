"""Where an object keeps what its `/scale` shows: replicas wanted and there, and its selector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.machinery import selectors

Object = dict[str, Any]
API_VERSION, KIND = "autoscaling/v1", "Scale"
_COPIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Paths of field names; an empty selector path shows none."""

    spec_replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: tuple[str, ...] = ()

    def scale_of(self, obj: Object, unset: int | None = None) -> Object:
        """The autoscaling/v1 Scale of an object.

        Where the object does not say its replicas: `unset`, or a KeyError if that is None.
        """
        metadata = obj["metadata"]
        replicas = at(obj, self.spec_replicas)
        replicas = unset if replicas is None else replicas
        if replicas is None:
            raise KeyError("." + ".".join(self.spec_replicas))
        status = {"replicas": at(obj, self.status_replicas) or 0}
        found = at(obj, self.selector) if self.selector else None
        if obj["kind"] == "ReplicationController":  # whose selector is a plain map
            found = {"matchLabels": found or {}}
        selector = _selector_text(found)
        if selector:
            status["selector"] = selector
        return {
            "kind": KIND,
            "apiVersion": API_VERSION,
            "metadata": {k: metadata[k] for k in _COPIED if k in metadata},
            "spec": {"replicas": replicas},
            "status": status,
        }

    def set_replicas(self, obj: Object, replicas: int) -> None:
        """In place."""
        place = obj
        for name in self.spec_replicas[:-1]:
            place = place.setdefault(name, {})
        place[self.spec_replicas[-1]] = replicas


WORKLOAD = ScalePaths(("spec", "replicas"), ("status", "replicas"), ("spec", "selector"))


def at(obj: Any, path: tuple[str, ...]) -> Any:
    """The value at a path of field names, or None."""
    for name in path:
        obj = obj.get(name) if isinstance(obj, Mapping) else None
    return obj


def _selector_text(found: Any) -> str:
    """Workloads keep a LabelSelector, custom resources its text."""
    return str(selectors.from_object(found)) if isinstance(found, Mapping) else str(found or "")
