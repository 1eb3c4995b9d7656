"""Declaring functions: a signature, what it does, and what it costs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.machinery.cel import types
from cluster.machinery.cel.types import Type
from cluster.machinery.cel.values import (
    Duration,
    OptionalValue,
    Timestamp,
    TypeValue,
    UInt,
)

Cost = Callable[[Sequence[float]], float]
"""From the sizes of the arguments, the target first, to units. Must not fall as sizes grow, for
it also bounds the cost of expressions that have not run."""
TRAVERSAL = 0.1
"""Of one character or byte (cel-go's StringTraversalCostFactor)."""
REGEX = 0.25
"""Of one character of a pattern (cel-go's RegexStringLengthCostFactor)."""

_SIGNATURE = re.compile(r"(?:(?P<target>.+)->)?(?P<name>[^(]+)\((?P<args>.*)\): (?P<result>.+)")


@dataclass(frozen=True, slots=True)
class Overload:
    """One form of a function. `size`: the largest size of the result, if it is known."""

    function: str
    member: bool
    params: tuple[Type, ...]
    result: Type
    call: Callable[..., Any]
    cost: Cost | None = None
    size: Cost | None = None


def declare(
    signature: str, call: Callable[..., Any], cost: Cost | None = None, size: Cost | None = None
) -> Overload:
    """Of `string->startsWith(string): bool` (a method) or `size(list(A)): int`."""
    match = _SIGNATURE.fullmatch(signature)
    assert match is not None, signature
    args = [types.parse(text) for text in _split(match["args"])]
    target = match["target"]
    params = ([types.parse(target)] if target else []) + args
    result = types.parse(match["result"])
    return Overload(match["name"], bool(target), tuple(params), result, call, cost, size)


def _split(text: str) -> list[str]:
    """At the commas that stand in no brackets."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [part for part in [*parts, text[start:]] if part.strip()]


class Library:
    """Overloads by name, and whether they are methods."""

    def __init__(self, overloads: Iterable[Overload]) -> None:
        self._found: dict[tuple[str, bool], list[Overload]] = {}
        for each in overloads:
            self._found.setdefault((each.function, each.member), []).append(each)

    def extended(self, more: Iterable[Overload]) -> Library:
        """This library and more, for expressions of one place only."""
        return Library([*(each for forms in self._found.values() for each in forms), *more])

    def overloads(self, name: str, member: bool) -> Sequence[Overload]:
        return self._found.get((name, member), ())

    def knows(self, name: str) -> bool:
        return (name, True) in self._found or (name, False) in self._found


def traverse(at: int = 0) -> Cost:
    """A tenth of the size of one argument."""
    return lambda sizes: sizes[at] * TRAVERSAL


def match_cost(text: int = 0, pattern: int = 1) -> Cost:
    """Of matching a pattern against a text."""

    def cost(sizes: Sequence[float]) -> float:
        return math.ceil((sizes[text] + 1) * TRAVERSAL) * math.ceil(sizes[pattern] * REGEX)

    return cost


_PLAIN: dict[str, type] = {
    "bool": bool, "double": float, "string": str, "bytes": bytes, "null_type": type(None),
    "google.protobuf.Timestamp": Timestamp, "google.protobuf.Duration": Duration,
    "list": list, "map": dict, "type": TypeValue, "optional_type": OptionalValue,
}  # fmt: skip


def accepts(param: Type) -> Callable[[Any], bool] | None:
    """Whether a value may be passed for a parameter; None: any may."""
    if param.is_dyn or param.is_param:
        return None
    if param.name == "int":
        return lambda value: type(value) is int
    if param.name == "uint":
        return lambda value: type(value) is UInt
    plain = _PLAIN.get(param.name)
    if plain is not None:
        return lambda value: isinstance(value, plain)
    return lambda value: getattr(value, "type_name", "") == param.name
