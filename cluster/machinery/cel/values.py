"""Values at run time, and the equality and order that CEL gives them.

int, double, string, bytes, bool, null, list and map are Python's own; an unsigned int is a
`UInt`. A map with boolean keys holds `BoolKey`s, since in Python True is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from cluster.machinery.cel.errors import EvaluationError

MAX_INT, MIN_INT = 2**63 - 1, -(2**63)
MAX_UINT = 2**64 - 1


class UInt(int):
    """An unsigned 64-bit integer."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Nanoseconds since the epoch, between the years 1 and 9999."""

    ns: int


@dataclass(frozen=True, slots=True)
class Duration:
    """Nanoseconds, as many as 63 bits hold."""

    ns: int


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: what `type(x)` gives."""

    name: str


@dataclass(frozen=True, slots=True)
class OptionalValue:
    """`optional.of(value)`, or `optional.none()` where it is not `present`."""

    value: Any = None
    present: bool = False


NONE = OptionalValue()


@dataclass(frozen=True, slots=True)
class BoolKey:
    """A boolean as the key of a map."""

    value: bool


class Struct(dict[str, Any]):
    """An object with declared fields: `type_name` is that of its type."""

    type_name = "object"


class SetList(list[Any]):
    """A list of x-kubernetes-list-type set: equal whatever the order; `+` is the union."""


class MapList(list[Any]):
    """A list of x-kubernetes-list-type map: items are identified by their keys."""

    keys: tuple[str, ...] = ()

    def key_of(self, item: Any) -> Any:
        return orjson.dumps([_jsonable(item.get(k)) for k in self.keys])


def _jsonable(value: Any) -> Any:
    return str(value) if isinstance(value, UInt | Timestamp | Duration | bytes) else value


def to_key(value: Any) -> Any:
    """What stands in a Python dict for a key of a CEL map; EvaluationError for what cannot."""
    if isinstance(value, bool):
        return BoolKey(value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, float):
        return ("no such key", value)
    raise EvaluationError(f"unsupported key type: {type_name(value)}")


def keys_of(value: dict[Any, Any]) -> Iterator[Any]:
    """The keys of a CEL map, as CEL values."""
    return (key.value if isinstance(key, BoolKey) else key for key in value)


_NAMES: dict[type, str] = {
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
    OptionalValue: "optional_type",
    dict: "map",
    list: "list",
    SetList: "list",
    MapList: "list",
}


def type_name(value: Any) -> str:
    """The name of a value's type, as `type(x)` has it."""
    found = _NAMES.get(type(value))
    return found if found is not None else str(getattr(value, "type_name", "dyn"))


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


MAX_STEPS = 1_000_000
"""Of one comparison: lists that share their items can be larger than the memory they take."""


class Walk:
    """Comparing values of any depth, in a bounded number of steps."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise EvaluationError("the values are too large to compare")

    def equal(self, a: Any, b: Any) -> bool:
        if is_number(a) and is_number(b):
            return bool(a == b)
        self._step()
        if isinstance(a, list) and isinstance(b, list):
            return self._lists(a, b)
        if isinstance(a, dict) and isinstance(b, dict):
            same = len(a) == len(b)
            return same and all(k in b and self.equal(v, b[k]) for k, v in a.items())
        if isinstance(a, OptionalValue) and isinstance(b, OptionalValue):
            both = a.present and b.present
            return self.equal(a.value, b.value) if both else a.present == b.present
        return type(a) is type(b) and bool(a == b)

    def _lists(self, a: list[Any], b: list[Any]) -> bool:
        if len(a) != len(b):
            return False
        if isinstance(a, SetList) and isinstance(b, SetList):
            return set(map(self.fingerprint, a)) == set(map(self.fingerprint, b))
        if isinstance(a, MapList) and isinstance(b, MapList):
            others = {b.key_of(item): item for item in b}
            pairs = ((item, others.get(a.key_of(item))) for item in a)
            return all(other is not None and self.equal(item, other) for item, other in pairs)
        return all(map(self.equal, a, b))

    def fingerprint(self, value: Any) -> Any:
        """Hashable, and the same for equal values only."""
        self._step()
        if isinstance(value, list):
            return ("list", *map(self.fingerprint, value))
        if isinstance(value, dict):
            return frozenset((k, self.fingerprint(v)) for k, v in value.items())
        return value if is_number(value) or isinstance(value, str) else (type(value), value)


def equal(a: Any, b: Any) -> bool:
    """CEL's `==`: numbers by their value whatever their type; other types never meet."""
    return Walk().equal(a, b)


def compare(a: Any, b: Any) -> int:
    """Below, at or above zero. EvaluationError if there is no order between the two."""
    if isinstance(a, Timestamp) and isinstance(b, Timestamp):
        return _sign(a.ns, b.ns)
    if isinstance(a, Duration) and isinstance(b, Duration):
        return _sign(a.ns, b.ns)
    same = type(a) is type(b) and isinstance(a, str | bytes | bool)
    if same or (is_number(a) and is_number(b)):
        if (isinstance(a, float) and math.isnan(a)) or (isinstance(b, float) and math.isnan(b)):
            raise EvaluationError("NaN values cannot be ordered")
        return _sign(a, b)
    if hasattr(a, "compare_to") and type(a) is type(b):
        return int(a.compare_to(b))
    raise EvaluationError("no such overload")


def _sign(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def size_of(value: Any) -> int:
    """What traversing a value costs: its length, or 1."""
    return len(value) if isinstance(value, str | bytes | list | dict) else 1
