"""Defaults of a CustomResourceDefinition (apiextensions/v1 defaults)."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def apply(crd: Object) -> None:
    """In place."""
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    kind = names.get("kind")
    if kind:
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
    conversion = spec.setdefault("conversion", {"strategy": "None"})
    service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)
