"""JSON objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from cluster.machinery.errors import BadRequest

MAX_DEPTH = 250
"""Of lists and maps in each other. What walks objects recurses, so the depth must be bounded."""


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object in the body; BadRequest for anything else.

    The last of duplicate keys wins, as in Go.
    """
    value = decode_any(body)
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return value


def decode_any(body: bytes) -> Any:
    """Any JSON value (a JSON patch is a list)."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"invalid JSON: {error}") from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _refuse_depth(value)
    return value


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise BadRequest(f"invalid JSON: nested more than {MAX_DEPTH} deep")


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def encode(obj: Any) -> bytes:
    """Compact JSON in the order of the dict's keys."""
    return orjson.dumps(obj)
