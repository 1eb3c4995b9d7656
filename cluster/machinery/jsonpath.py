"""JSONPath as kubectl and CustomResourceDefinitions write it: `.spec.ports[?(@.name=="x")].port`.

The dialect of k8s.io/client-go/util/jsonpath, without text around the path: children by name
(`.a`, `['a']`, `.a\\.b`), indexes, slices, unions, wildcards, recursive descent and filters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]
MAX_LENGTH = 4096
MAX_FOUND = 10_000
"""Recursive descents of recursive descents would not be bounded."""

_NAME = re.compile(r"(?:\\.|[A-Za-z0-9_\-$/])+")
_SIMPLE = re.compile(r"(?:\.(?:\\.|[A-Za-z0-9_\-/])+|\['[^']+'\]|\[\"[^\"]+\"\])+")
_FILTER = re.compile(r"(.+?)\s*(==|!=|<=|>=|<|>)\s*(.+)")


class PathError(ValueError):
    """Not a path of this dialect."""


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path."""

    text: str
    steps: tuple[Step, ...]

    def find(self, obj: Any) -> list[Any]:
        """Every value that the path leads to, in order."""
        found = [obj]
        for step in self.steps:
            found = [item for value in found for item in step(value)][:MAX_FOUND]
        return found

    def first(self, obj: Any) -> Any:
        """The first of them, or None."""
        found = self.find(obj)
        return found[0] if found else None


def is_simple(text: str) -> bool:
    """Whether it only names fields: no arrays, filters or wildcards."""
    return _SIMPLE.fullmatch(text) is not None


def fields(text: str) -> tuple[str, ...]:
    """The field names of a simple path: `.spec.replicas` -> ("spec", "replicas")."""
    if not is_simple(text):
        raise PathError(f"not a simple path: {text!r}")
    names = re.findall(r"\.((?:\\.|[A-Za-z0-9_\-/])+)|\['([^']+)'\]|\[\"([^\"]+)\"\]", text)
    return tuple(re.sub(r"\\(.)", r"\1", a or b or c) for a, b, c in names)


@lru_cache(maxsize=1024)
def parse(text: str) -> Path:
    """PathError if it is none. Braces round the whole (`{.spec}`) are allowed."""
    if len(text) > MAX_LENGTH:
        raise PathError(f"longer than {MAX_LENGTH} characters")
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    if inner.startswith(("$", "@")):
        inner = inner[1:]
    return Path(text, tuple(_steps(inner)))


def _steps(text: str) -> Iterator[Step]:
    at = 0
    while at < len(text):
        if text.startswith("..", at):
            yield _descend
            at += 1
            if text.startswith("[", at + 1):
                at += 1
                continue
        if text[at] == "[":
            end = _closing(text, at)
            yield _bracket(text[at + 1 : end].strip())
            at = end + 1
        elif text.startswith(".*", at):
            yield _all
            at += 2
        elif text[at] == ".":
            match = _NAME.match(text, at + 1)
            if match is None:
                if at + 1 == len(text):
                    return
                raise PathError(f"unrecognized character in action: {text[at + 1]!r}")
            yield _child(re.sub(r"\\(.)", r"\1", match.group()))
            at = match.end()
        else:
            raise PathError(f"unrecognized character in action: {text[at]!r}")


def _closing(text: str, at: int) -> int:
    """The place of the bracket that closes the one at `at`; quotes hide brackets."""
    depth, quote = 0, ""
    for place in range(at, len(text)):
        char = text[place]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "[]":
            depth += 1 if char == "[" else -1
            if depth == 0:
                return place
    raise PathError("unterminated array")


def _bracket(inner: str) -> Step:
    if inner.startswith("?(") and inner.endswith(")"):
        return _filter(inner[2:-1].strip())
    if inner == "*":
        return _all
    parts = [part.strip() for part in inner.split(",")]
    steps = [_element(part) for part in parts]
    return steps[0] if len(steps) == 1 else _union(steps)


def _element(part: str) -> Step:
    if len(part) > 1 and part[0] in "'\"" and part[-1] == part[0]:
        return _child(part[1:-1])
    numbers = part.split(":")
    if not 1 <= len(numbers) <= 3 or not all(re.fullmatch(r"-?\d*", n) for n in numbers):
        raise PathError(f"invalid array index {part!r}")
    if len(numbers) == 1:
        if not numbers[0].lstrip("-"):
            raise PathError(f"invalid array index {part!r}")
        return _index(int(numbers[0]))
    return _slice(slice(*(int(n) if n else None for n in numbers)))


def _child(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _index(at: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= at < len(value):
            yield value[at]

    return step


def _slice(part: slice) -> Step:
    if part.step == 0:
        raise PathError("step must not be 0")

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[part]

    return step


def _union(steps: Sequence[Step]) -> Step:
    def step(value: Any) -> Iterator[Any]:
        for each in steps:
            yield from each(value)

    return step


def _all(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _descend(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        yield item
        if isinstance(item, dict):
            waiting.extend(reversed(list(item.values())))
        elif isinstance(item, list):
            waiting.extend(reversed(item))


def _filter(text: str) -> Step:
    match = _FILTER.fullmatch(text)
    if match is None:
        wanted = _operand(text)
        return lambda value: (i for i in _items(value) if wanted(i))
    left, operator, right = _operand(match[1]), match[2], _operand(match[3])

    def holds(item: Any) -> bool:
        return any(_compare(operator, a, b) for a in left(item) for b in right(item))

    return lambda value: (item for item in _items(value) if holds(item))


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _operand(text: str) -> Callable[[Any], list[Any]]:
    if text.startswith("@"):
        path = parse(text[1:])
        return path.find
    if len(text) > 1 and text[0] == text[-1] == "'":
        return lambda item: [text[1:-1]]
    try:
        constant = json.loads(text)
    except ValueError as error:
        raise PathError(f"unrecognized operand {text!r}") from error
    return lambda item: [constant]


def _compare(operator: str, a: Any, b: Any) -> bool:
    if operator in ("==", "!="):
        return (a == b and type(a) is type(b)) == (operator == "==")
    both_text = isinstance(a, str) and isinstance(b, str)
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    if not both_text and not numbers:
        return False
    return bool({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator])
