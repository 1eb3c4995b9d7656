"""NodeMetrics and PodMetrics: their names, schemas, columns and objects (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cluster.machinery import meta, openapi
from cluster.machinery.printing.columns import NAME, Cells, Column, Printer
from cluster.machinery.resources import Resource
from cluster.metrics.samples import Used

Object = dict[str, Any]

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
API_VERSION = f"{GROUP}/{VERSION}"
VERBS = ("get", "list")


def _resource(plural: str, kind: str, namespaced: bool) -> Resource:
    return Resource(GROUP, VERSION, plural, kind, namespaced, "", (), (), VERBS, ())


NODES = _resource("nodes", "NodeMetrics", False)
PODS = _resource("pods", "PodMetrics", True)

_QUANTITIES = {
    "type": "object",
    "description": "The memory usage is the working set, the cpu usage cores.",
    "additionalProperties": {"x-kubernetes-int-or-string": True},
}
_TIMES = {
    "timestamp": {"type": "string", "format": "date-time",
                  "description": "The end of the interval over which usage was measured."},
    "window": {"type": "string", "description": "The length of that interval."},
}  # fmt: skip
_CONTAINER = {
    "type": "object",
    "description": "What one container uses.",
    "required": ["name", "usage"],
    "properties": {"name": {"type": "string"}, "usage": _QUANTITIES},
}
SCHEMAS = (
    openapi.CustomSchema(
        NODES,
        {
            "type": "object",
            "description": "What a node uses.",
            "required": ["timestamp", "window", "usage"],
            "properties": {**_TIMES, "usage": _QUANTITIES},
        },
    ),
    openapi.CustomSchema(
        PODS,
        {
            "type": "object",
            "description": "What the containers of a pod use.",
            "required": ["timestamp", "window", "containers"],
            "properties": {**_TIMES, "containers": {"type": "array", "items": _CONTAINER}},
        },
    ),
)


def node(about: Object, used: Used) -> Object:
    """`about`: the node's metadata."""
    return {**_head("NodeMetrics", about, used), "usage": _usage(used)}


def pod(about: Object, used: Mapping[str, Used]) -> Object:
    """`about`: the pod's metadata; `used` by container, not empty."""
    earliest = min(used.values(), key=lambda each: each.at_s)
    containers = [{"name": n, "usage": _usage(each)} for n, each in sorted(used.items())]
    return {**_head("PodMetrics", about, earliest), "containers": containers}


def _head(kind: str, about: Object, used: Used) -> Object:
    kept = ("name", "namespace", "labels")
    metadata = {name: about[name] for name in kept if about.get(name)}
    return {
        "kind": kind,
        "apiVersion": API_VERSION,
        "metadata": {**metadata, "creationTimestamp": meta.format_time(used.at_s)},
        "timestamp": meta.format_time(used.at_s),
        "window": f"{used.window_s:.3f}s",
    }


def _usage(used: Used) -> Object:
    nano, kibi = round(used.cores * 1e9), used.memory_bytes // 1024
    return {"cpu": f"{nano}n" if nano else "0", "memory": f"{kibi}Ki"}


def _cells(name: str, usages: Iterable[Object], window: str) -> Cells:
    listed = list(usages)
    nano = sum(int(u["cpu"].rstrip("n")) for u in listed)
    kibi = sum(int(u["memory"].removesuffix("Ki")) for u in listed)
    return [name, f"{nano // 10**6}m", f"{kibi // 1024}Mi", window]


def _node_row(obj: Object, _now_s: float) -> Cells:
    return _cells(obj["metadata"]["name"], [obj["usage"]], obj["window"])


def _pod_row(obj: Object, _now_s: float) -> Cells:
    usages = (each["usage"] for each in obj["containers"])
    return _cells(obj["metadata"]["name"], usages, obj["window"])


_COLUMNS = (NAME, Column("CPU"), Column("Memory"), Column("Window"))
PRINTERS = {"nodes": Printer(_COLUMNS, _node_row), "pods": Printer(_COLUMNS, _pod_row)}
