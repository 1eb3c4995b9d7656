"""YAML objects, read as JSON's types (a timestamp stays text)."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import yaml

from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
MAX_ALIASES = 100
"""Aliases of aliases grow without bound; no manifest needs more than a few."""


class _Loader(_Base):  # type: ignore[misc]
    """Without timestamps: JSON has none, and Kubernetes keeps them as text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


def decode(body: bytes) -> dict[str, Any]:
    """The first document of the body, which must be a mapping; BadRequest otherwise.

    JSON, which is YAML, is read as such: that is quicker, and its text may hold any character.
    """
    if body.lstrip()[:1] == b"{":
        with contextlib.suppress(BadRequest):
            return json_codec.decode(body)
    documents = decode_all(body)
    if not documents or not isinstance(documents[0], dict):
        raise BadRequest("the body must be a YAML mapping")
    first: dict[str, Any] = documents[0]
    return first


def decode_all(body: bytes) -> list[Any]:
    """Every document that is not empty."""
    try:
        _refuse_bombs(body)
        loaded = list(yaml.load_all(body, Loader=_Loader))
    except yaml.YAMLError as error:
        raise BadRequest(f"error converting YAML to JSON: {error}") from error
    return [_json_keys(document) for document in loaded if document is not None]


def duplicate_fields(body: bytes) -> list[str]:
    """`line 3: key "a" already set in map` for each key that stands twice in one mapping."""
    found: list[str] = []
    try:
        waiting = list(yaml.compose_all(body, Loader=_Loader))
    except yaml.YAMLError as error:
        raise BadRequest(f"error converting YAML to JSON: {error}") from error
    seen: set[int] = set()  # aliases lead to nodes that have been walked
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            found += _repeated([key for key, _ in node.value])
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return found


def _repeated(keys: list[Any]) -> list[str]:
    known: set[str] = set()
    found = []
    for key in keys:
        if key.value in known:
            line = key.start_mark.line + 1
            found.append(f'line {line}: key "{key.value}" already set in map')
        known.add(str(key.value))
    return found


def _refuse_bombs(body: bytes) -> None:
    if body.count(b"*") <= MAX_ALIASES:
        return
    events = yaml.parse(body, Loader=_Loader)
    if sum(isinstance(event, yaml.AliasEvent) for event in events) > MAX_ALIASES:
        raise BadRequest("the YAML has too many aliases")


def _json_keys(value: Any) -> Any:
    """Keys become text, as in JSON: `1: x` is `"1": "x"`."""
    if isinstance(value, dict):
        return {_key(key): _json_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_keys(item) for item in value]
    if isinstance(value, bytes):
        raise BadRequest("binary YAML values are not supported")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        value = _float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest(f"error converting YAML to JSON: unsupported value: {value}")
    return value


def _float(value: int) -> float:
    """Integers beyond 64 bits are read as JSON's are."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)


def encode(obj: Any) -> bytes:
    """One YAML document with sorted keys."""
    text: str = yaml.dump(obj, Dumper=_Dumper, sort_keys=True, default_flow_style=False)
    return text.encode()
