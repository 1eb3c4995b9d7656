"""JSON patch, RFC 6902, over JSON pointers, RFC 6901."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cluster.machinery.errors import PatchError, PatchTestFailed
from cluster.machinery.patch import copied

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024
"""Copies of copies grow without bound: both limits are upstream's."""

_INDEX = re.compile(r"0|[1-9][0-9]*")
_ESCAPE = re.compile(r"~(?![01])")


def apply(doc: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """The document after every operation in turn; PatchError if one cannot be done."""
    if not isinstance(operations, list | tuple):
        raise PatchError("a JSON patch must be a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise PatchError(f"a JSON patch may have at most {MAX_OPERATIONS} operations")
    patcher = _Patcher(copied(doc))
    for operation in operations:
        patcher.run(operation)
    return patcher.doc


class _Patcher:
    """The document in work, and how much has been copied so far."""

    def __init__(self, doc: Any) -> None:
        self.doc = doc
        self.copied_bytes = 0

    def run(self, operation: Mapping[str, Any]) -> None:
        if not isinstance(operation, Mapping):
            raise PatchError("an operation of a JSON patch must be an object")
        name = operation.get("op")
        path = _pointer(operation, "path")
        if name in ("add", "replace", "test"):
            if "value" not in operation:
                raise PatchError(f"{name} operation without a value")
            getattr(self, name)(path, copied(operation["value"]))
        elif name == "remove":
            self.remove(path)
        elif name in ("move", "copy"):
            getattr(self, name)(_pointer(operation, "from"), path)
        else:
            raise PatchError(f"unexpected kind of operation: {name}")

    def get(self, path: Sequence[str]) -> Any:
        found = self.doc
        for step in path:
            found = found[_key(found, step)]
        return found

    def add(self, path: Sequence[str], value: Any) -> None:
        if not path:
            self.doc = value
            return
        parent = self.get(path[:-1])
        if isinstance(parent, list):
            at = len(parent) if path[-1] == "-" else _index(path[-1], len(parent) + 1)
            parent.insert(at, value)
        elif isinstance(parent, dict):
            parent[path[-1]] = value
        else:
            raise _missing(path[-1])

    def remove(self, path: Sequence[str]) -> Any:
        if not path:
            raise PatchError("the whole document cannot be removed")
        parent = self.get(path[:-1])
        key = _key(parent, path[-1])
        return parent.pop(key)

    def replace(self, path: Sequence[str], value: Any) -> None:
        if not path:
            self.doc = value
            return
        parent = self.get(path[:-1])
        key = _key(parent, path[-1])
        parent[key] = value

    def test(self, path: Sequence[str], value: Any) -> None:
        if not _same(self.get(path), value):
            raise PatchTestFailed(f"testing value {_text(path)} failed")

    def move(self, source: Sequence[str], target: Sequence[str]) -> None:
        if len(target) > len(source) and list(target[: len(source)]) == list(source):
            raise PatchError("a value cannot be moved into itself")
        if source == target:
            self.get(source)
            return
        self.add(target, self.remove(source))

    def copy(self, source: Sequence[str], target: Sequence[str]) -> None:
        encoded = orjson.dumps(self.get(source))
        self.copied_bytes += len(encoded)
        if self.copied_bytes > MAX_COPIED_BYTES:
            raise PatchError("the copy operations of this patch grow the object too much")
        self.add(target, orjson.loads(encoded))


def _pointer(operation: Mapping[str, Any], name: str) -> list[str]:
    text = operation.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")) or _ESCAPE.search(text):
        raise PatchError(f"{name} is not a JSON pointer: {text!r}")
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _text(path: Sequence[str]) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def _missing(step: str) -> PatchError:
    return PatchError(f"the path has no value at {step!r}")


def _key(parent: Any, step: str) -> Any:
    """The index or key of an existing child."""
    if isinstance(parent, list):
        return _index(step, len(parent))
    if not isinstance(parent, dict) or step not in parent:
        raise _missing(step)
    return step


def _index(step: str, size: int) -> int:
    if not _INDEX.fullmatch(step) or len(step) > 9 or int(step) >= size:
        raise PatchError(f"invalid array index {step!r}")
    return int(step)


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1, 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
