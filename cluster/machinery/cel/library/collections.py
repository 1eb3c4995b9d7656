"""Lists as Kubernetes extends them, and sets (cel-go's ext.Sets)."""

from __future__ import annotations

import itertools
from typing import Any

from cluster.machinery.cel.bounds import checked_duration, checked_int, checked_uint
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import Overload, declare
from cluster.machinery.cel.values import Duration, UInt, compare, equal

_ORDERED = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
_ZEROS: dict[str, Any] = {"int": 0, "uint": UInt(0), "double": 0.0, "duration": Duration(0)}


def _is_sorted(items: list[Any]) -> bool:
    return all(compare(a, b) <= 0 for a, b in itertools.pairwise(items))


def _best(name: str, sign: int) -> Any:
    def call(items: list[Any]) -> Any:
        if not items:
            raise EvaluationError(f"{name} called on empty list")
        best = items[0]
        for item in items[1:]:
            if compare(item, best) * sign > 0:
                best = item
        return best

    return call


def _sum(kind: str) -> Any:
    def call(items: list[Any]) -> Any:
        total: Any = _ZEROS[kind]
        for item in items:
            total = _add(total, item)
        return total

    return call


def _add(total: Any, item: Any) -> Any:
    if isinstance(item, Duration) and isinstance(total, Duration):
        return checked_duration(total.ns + item.ns)
    if isinstance(item, UInt):
        return checked_uint(int(total) + int(item))
    if type(item) is int and not isinstance(total, Duration):
        return checked_int(int(total) + item)
    if isinstance(item, float) and not isinstance(total, Duration):
        return float(total) + item
    raise EvaluationError("no such overload")


def _index_of(items: list[Any], item: Any) -> int:
    return next((at for at, each in enumerate(items) if equal(each, item)), -1)


def _last_index_of(items: list[Any], item: Any) -> int:
    last = len(items) - 1
    return next((last - at for at, each in enumerate(reversed(items)) if equal(each, item)), -1)


def _contains(items: list[Any], part: list[Any]) -> bool:
    return all(any(equal(a, b) for b in items) for a in part)


def _equivalent(a: list[Any], b: list[Any]) -> bool:
    return _contains(a, b) and _contains(b, a)


def _intersects(a: list[Any], b: list[Any]) -> bool:
    return any(equal(x, y) for x in a for y in b)


def _length(sizes: Any) -> float:
    return float(sizes[0])


def _product(sizes: Any) -> float:
    return float(sizes[0] * sizes[1])


def _ordered(kind: str) -> list[Overload]:
    return [
        declare(f"list({kind})->isSorted(): bool", _is_sorted, _length),
        declare(f"list({kind})->min(): {kind}", _best("min", -1), _length),
        declare(f"list({kind})->max(): {kind}", _best("max", 1), _length),
    ]


OVERLOADS: list[Overload] = [
    *(overload for kind in _ORDERED for overload in _ordered(kind)),
    *(declare(f"list({kind})->sum(): {kind}", _sum(kind), _length) for kind in _ZEROS),
    declare("list(A)->indexOf(A): int", _index_of, _length),
    declare("list(A)->lastIndexOf(A): int", _last_index_of, _length),
    declare("sets.contains(list(A),list(A)): bool", _contains, _product),
    declare("sets.equivalent(list(A),list(A)): bool", _equivalent, _product),
    declare("sets.intersects(list(A),list(A)): bool", _intersects, _product),
]
