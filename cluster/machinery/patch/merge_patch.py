"""JSON merge patch, RFC 7396."""

from __future__ import annotations

from typing import Any

from cluster.machinery.patch import copied


def apply(doc: Any, patch: Any) -> Any:
    """The document with the patch merged in: maps merge, null deletes, all else replaces."""
    return _merge(copied(doc), copied(patch))


def _merge(doc: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    out = doc if isinstance(doc, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = _merge(out.get(key), value)
    return out
