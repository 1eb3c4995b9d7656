"""Operators: arithmetic with 64 bits, comparisons, indexes, membership."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cluster.machinery.cel.bounds import checked_duration, checked_int, checked_time, checked_uint
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import TRAVERSAL, Overload, declare
from cluster.machinery.cel.values import (
    NONE,
    MapList,
    OptionalValue,
    SetList,
    UInt,
    Walk,
    compare,
    equal,
    to_key,
)


def _divide(a: int, b: int) -> int:
    """Towards zero, as Go."""
    if b == 0:
        raise EvaluationError("division by zero")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _modulo(a: int, b: int) -> int:
    if b == 0:
        raise EvaluationError("modulus by zero")
    checked_int(_divide(a, b))  # the smallest number by -1 overflows, as in Go
    return int(math.copysign(1, a)) * (abs(a) % abs(b))


def _modulo_uints(a: int, b: int) -> UInt:
    if b == 0:
        raise EvaluationError("modulus by zero")
    return UInt(int(a) % int(b))


def _divide_doubles(a: float, b: float) -> float:
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1, b)


def add_lists(a: list[Any], b: list[Any]) -> list[Any]:
    """Sets are united; items of a map list take the place of those with their keys."""
    if isinstance(a, SetList):
        walk = Walk()
        known = set(map(walk.fingerprint, a))
        return SetList([*a, *(item for item in b if walk.fingerprint(item) not in known)])
    if isinstance(a, MapList):
        merged = {a.key_of(item): item for item in a} | {a.key_of(item): item for item in b}
        found = MapList(merged.values())
        found.keys = a.keys
        return found
    return [*a, *b]


def index_list(items: list[Any], at: Any) -> Any:
    if isinstance(at, float) and at.is_integer():
        at = int(at)
    if isinstance(at, float):
        raise EvaluationError(f"unsupported index value: {at}")
    if not 0 <= at < len(items):
        raise EvaluationError(f"index out of bounds: {at}")
    return items[at]


def index_map(pairs: dict[Any, Any], key: Any) -> Any:
    found = to_key(key)
    if found not in pairs:
        raise EvaluationError(f"no such key: {key}")
    return pairs[found]


def optional_index(value: Any, key: Any) -> OptionalValue:
    """`a[?b]`: absent where `a[b]` would fail, and through an absent `a`."""
    if isinstance(value, OptionalValue):
        if not value.present:
            return NONE
        value = value.value
    if isinstance(value, list):
        there = isinstance(key, int | float) and key == int(key) and 0 <= key < len(value)
        return OptionalValue(value[int(key)], True) if there else NONE
    if isinstance(value, dict):
        found = to_key(key)
        return OptionalValue(value[found], True) if found in value else NONE
    raise EvaluationError("no such overload")


def _in_list(item: Any, items: list[Any]) -> bool:
    return any(equal(item, each) for each in items)


def _in_map(key: Any, pairs: dict[Any, Any]) -> bool:
    return to_key(key) in pairs


def _smaller(sizes: Any) -> float:
    return float(min(sizes[0], sizes[1]) * TRAVERSAL)


def _both(sizes: Any) -> float:
    return float((sizes[0] + sizes[1]) * TRAVERSAL)


def _sum(sizes: Any) -> float:
    return float(sizes[0] + sizes[1])


_ORDERED = ("bool", "string", "bytes", "timestamp", "duration")
_NUMERIC_PAIRS = [(a, b) for a in ("int", "uint", "double") for b in ("int", "uint", "double")]


def _order(name: str, holds: Callable[[int], bool]) -> list[Overload]:
    def call(a: Any, b: Any) -> bool:
        return holds(compare(a, b))

    pairs = [*((t, t) for t in _ORDERED), *_NUMERIC_PAIRS]
    return [
        declare(f"{name}({a},{b}): bool", call, _smaller if a in ("string", "bytes") else None)
        for a, b in pairs
    ]


def _not_equal(a: Any, b: Any) -> bool:
    return not equal(a, b)


OVERLOADS: list[Overload] = [
    declare("_==_(A,A): bool", equal, _smaller),
    declare("_!=_(A,A): bool", _not_equal, _smaller),
    *_order("_<_", lambda sign: sign < 0),
    *_order("_<=_", lambda sign: sign <= 0),
    *_order("_>_", lambda sign: sign > 0),
    *_order("_>=_", lambda sign: sign >= 0),
    declare("!_(bool): bool", lambda a: not a),
    declare("-_(int): int", lambda a: checked_int(-a)),
    declare("-_(double): double", lambda a: -a),
    declare("_+_(int,int): int", lambda a, b: checked_int(a + b)),
    declare("_+_(uint,uint): uint", lambda a, b: checked_uint(int(a) + int(b))),
    declare("_+_(double,double): double", lambda a, b: a + b),
    declare("_+_(string,string): string", lambda a, b: a + b, _both, _sum),
    declare("_+_(bytes,bytes): bytes", lambda a, b: a + b, _both, _sum),
    declare("_+_(list(A),list(A)): list(A)", add_lists, _both, _sum),
    declare("_+_(duration,duration): duration", lambda a, b: checked_duration(a.ns + b.ns)),
    declare("_+_(timestamp,duration): timestamp", lambda a, b: checked_time(a.ns + b.ns)),
    declare("_+_(duration,timestamp): timestamp", lambda a, b: checked_time(a.ns + b.ns)),
    declare("_-_(int,int): int", lambda a, b: checked_int(a - b)),
    declare("_-_(uint,uint): uint", lambda a, b: checked_uint(int(a) - int(b))),
    declare("_-_(double,double): double", lambda a, b: a - b),
    declare("_-_(duration,duration): duration", lambda a, b: checked_duration(a.ns - b.ns)),
    declare("_-_(timestamp,duration): timestamp", lambda a, b: checked_time(a.ns - b.ns)),
    declare("_-_(timestamp,timestamp): duration", lambda a, b: checked_duration(a.ns - b.ns)),
    declare("_*_(int,int): int", lambda a, b: checked_int(a * b)),
    declare("_*_(uint,uint): uint", lambda a, b: checked_uint(int(a) * int(b))),
    declare("_*_(double,double): double", lambda a, b: a * b),
    declare("_/_(int,int): int", lambda a, b: checked_int(_divide(a, b))),
    declare("_/_(uint,uint): uint", lambda a, b: UInt(_divide(a, b))),
    declare("_/_(double,double): double", _divide_doubles),
    declare("_%_(int,int): int", _modulo),
    declare("_%_(uint,uint): uint", _modulo_uints),
    declare("_[_](list(A),int): A", index_list),
    declare("_[_](list(A),uint): A", index_list),
    declare("_[_](list(A),double): A", index_list),
    declare("_[_](map(A,B),A): B", index_map),
    declare("_[_](optional(map(A,B)),A): optional(B)", optional_index),
    declare("_[_](optional(list(A)),int): optional(A)", optional_index),
    declare("_[?_](list(A),int): optional(A)", optional_index),
    declare("_[?_](map(A,B),A): optional(B)", optional_index),
    declare("_[?_](optional(list(A)),int): optional(A)", optional_index),
    declare("_[?_](optional(map(A,B)),A): optional(B)", optional_index),
    declare("@in(A,list(A)): bool", _in_list, lambda sizes: sizes[1]),
    declare("@in(A,map(A,B)): bool", _in_map),
]
