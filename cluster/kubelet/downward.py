"""The downward API: fields and resources of a pod as text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cluster.machinery import quantity

Object = dict[str, Any]

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


class UnknownField(ValueError):
    """A field path that the downward API does not offer."""


def field(pod: Object, path: str) -> str:
    """`metadata.name`, `metadata.labels['a']`, `spec.nodeName`, `status.podIP`, ..."""
    if match := _SUBSCRIPT.fullmatch(path):
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        return _format_map(pod["metadata"].get(path.partition(".")[2]) or {})
    part, _, name = path.partition(".")
    if (part, name) not in _FIELDS:
        raise UnknownField(f"unsupported fieldPath: {path}")
    if name in ("podIPs", "hostIPs"):
        return ",".join(entry["ip"] for entry in (pod.get("status") or {}).get(name) or ())
    return str((pod.get(part) or {}).get(name) or "")


_FIELDS = {
    *(("metadata", name) for name in ("name", "namespace", "uid")),
    *(("spec", name) for name in ("nodeName", "serviceAccountName")),
    *(("status", name) for name in ("podIP", "podIPs", "hostIP", "hostIPs")),
}


def _format_map(values: Mapping[str, str]) -> str:
    """One `key="escaped value"` per line, sorted, as upstream's FormatMap."""
    escaped = {k: v.replace("\\", "\\\\").replace('"', '\\"') for k, v in values.items()}
    return "\n".join(
        f'{key}="{text}"'.replace("\n", "\\n") for key, text in sorted(escaped.items())
    )


def resource(
    pod: Object, reference: Object, allocatable: Mapping[str, str], container: str = ""
) -> str:
    """A resourceFieldRef as a whole number of its divisor, rounded up."""
    name = reference.get("containerName") or container
    spec = next(
        c
        for c in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]
        if c["name"] == name
    )
    kind, _, which = str(reference["resource"]).partition(".")
    amounts = (spec.get("resources") or {}).get(kind) or {}
    text = amounts.get(which)
    if text is None:
        text = allocatable.get(which, "0") if kind == "limits" else "0"
    divisor = quantity.parse(reference.get("divisor") or "1") or quantity.parse("1")
    return str(-(-quantity.parse(text) // divisor))
