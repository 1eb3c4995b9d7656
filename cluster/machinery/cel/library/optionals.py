"""Optional values: what may be absent without being an error."""

from __future__ import annotations

from typing import Any

from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import Overload, declare
from cluster.machinery.cel.values import NONE, Duration, OptionalValue, Timestamp


def _of_non_zero(value: Any) -> OptionalValue:
    return NONE if is_zero(value) else OptionalValue(value, True)


def is_zero(value: Any) -> bool:
    """The value that a field of its type has when nobody has set it."""
    if isinstance(value, Duration | Timestamp):
        return value.ns == 0
    return value is None or value is False or value in (0, "", b"", [], {})


def _value(optional: OptionalValue) -> Any:
    if not optional.present:
        raise EvaluationError("optional.none() dereference")
    return optional.value


OVERLOADS: list[Overload] = [
    declare("optional.of(A): optional(A)", lambda v: OptionalValue(v, True)),
    declare("optional.ofNonZeroValue(A): optional(A)", _of_non_zero),
    declare("optional.none(): optional(A)", lambda: NONE),
    declare("optional(A)->value(): A", _value),
    declare("optional(A)->hasValue(): bool", lambda o: o.present),
    declare("optional(A)->or(optional(A)): optional(A)", lambda a, b: a if a.present else b),
    declare("optional(A)->orValue(A): A", lambda o, v: o.value if o.present else v),
]
