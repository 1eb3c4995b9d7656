"""Static types: of variables, of functions, and of every part of an expression."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Type:
    """`name(params)`. Single capital letters are type parameters.

    `fields` are those of an object, or None for what has none. `max_size` is the largest length
    that the schema allows (characters, items, pairs), None where nothing is known.
    """

    name: str
    params: tuple[Type, ...] = ()
    fields: Mapping[str, Type] | None = field(default=None, compare=False, repr=False)
    max_size: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        shown = _SHOWN.get(self.name, self.name)
        if not self.params:
            return shown
        return f"{shown}({', '.join(map(str, self.params))})"

    @property
    def is_param(self) -> bool:
        return len(self.name) == 1 and self.name.isupper()

    @property
    def is_dyn(self) -> bool:
        return self.name == "dyn"


_SHOWN = {"google.protobuf.Timestamp": "timestamp", "google.protobuf.Duration": "duration",
          "null_type": "null"}  # fmt: skip

DYN, ERROR = Type("dyn"), Type("!error!")
BOOL, INT, UINT, DOUBLE = Type("bool"), Type("int"), Type("uint"), Type("double")
STRING, BYTES, NULL = Type("string"), Type("bytes"), Type("null_type")
TIMESTAMP, DURATION = Type("google.protobuf.Timestamp"), Type("google.protobuf.Duration")


def list_of(element: Type, max_size: int | None = None) -> Type:
    return Type("list", (element,), max_size=max_size)


def map_of(key: Type, value: Type, max_size: int | None = None) -> Type:
    return Type("map", (key, value), max_size=max_size)


def optional_of(element: Type) -> Type:
    return Type("optional_type", (element,))


def type_of(what: Type) -> Type:
    return Type("type", (what,))


def object_type(name: str, fields: Mapping[str, Type]) -> Type:
    return Type(name, fields=fields)


_BY_NAME = {"timestamp": TIMESTAMP, "duration": DURATION, "null": NULL, "optional":
            Type("optional_type")}  # fmt: skip
_TOKEN = re.compile(r"\s*([A-Za-z_][\w.]*|[(),])")


def parse(text: str) -> Type:
    """The notation of signatures: `map(string, list(A))`."""
    found, rest = _parse(_TOKEN.findall(text))
    assert not rest, text
    return found


def _parse(tokens: list[str]) -> tuple[Type, list[str]]:
    name, *rest = tokens
    base = _BY_NAME.get(name, Type(name))
    if not rest or rest[0] != "(":
        return base, rest
    params: list[Type] = []
    while rest[0] != ")":
        inner, rest = _parse(rest[1:])
        params.append(inner)
    return Type(base.name, tuple(params)), rest[1:]


Bindings = dict[str, Type]

_NULLABLE = {TIMESTAMP.name, DURATION.name, "optional_type", NULL.name}


def substitute(what: Type, bindings: Mapping[str, Type]) -> Type:
    """With its parameters bound; those that are not stay."""
    if what.is_param:
        bound = bindings.get(what.name)
        return what if bound is None else bound
    if not what.params:
        return what
    params = tuple(substitute(p, bindings) for p in what.params)
    return Type(what.name, params, what.fields, what.max_size)


def assign(declared: Type, actual: Type, bindings: Bindings) -> bool:
    """Whether a value of `actual` may stand where `declared` is wanted; binds parameters."""
    if declared.is_param:
        return _bind(declared.name, actual, bindings)
    if declared.is_dyn or actual.is_dyn or ERROR in (declared, actual):
        return True
    if actual.is_param:
        return True
    if actual == NULL:
        return declared.fields is not None or declared.name in _NULLABLE
    if declared.name != actual.name or len(declared.params) != len(actual.params):
        return False
    pairs = zip(declared.params, actual.params, strict=True)
    return all(assign(d, a, bindings) for d, a in pairs)


def _bind(name: str, actual: Type, bindings: Bindings) -> bool:
    """To the wider of what it is bound to and what there is now."""
    bound = bindings.get(name)
    if bound is None or bound == actual:
        bindings[name] = bound or actual
        return True
    if bound.is_dyn or actual.is_dyn:
        bindings[name] = DYN
        return True
    trial = dict(bindings)
    if assign(bound, actual, trial):
        return True
    if assign(actual, bound, trial):
        bindings[name] = actual
        return True
    return False


def join(a: Type, b: Type) -> Type:
    """The type of what may be either; dyn if they have nothing in common."""
    if a == b:
        return a if a.max_size == b.max_size else Type(a.name, a.params, a.fields, _larger(a, b))
    if assign(a, b, {}) and not b.is_dyn:
        return a
    return b if assign(b, a, {}) and not a.is_dyn else DYN


def _larger(a: Type, b: Type) -> int | None:
    known: Any = (a.max_size, b.max_size)
    return None if None in known else max(known)


def finished(what: Type) -> Type:
    """With parameters that nothing has bound as dyn: the type of `[]` is list(dyn)."""
    if what.is_param:
        return DYN
    if not what.params:
        return what
    return Type(what.name, tuple(map(finished, what.params)), what.fields, what.max_size)
