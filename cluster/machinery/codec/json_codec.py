"""JSON objects."""

from __future__ import annotations

from typing import Any

import orjson

from cluster.machinery.errors import BadRequest


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
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"invalid JSON: {error}") from error


def encode(obj: Any) -> bytes:
    """Compact JSON in the order of the dict's keys."""
    return orjson.dumps(obj)
