"""Quantities: exact amounts with suffixes (Kubernetes's quantity library)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cluster.machinery import quantity
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import Overload, declare, traverse
from cluster.machinery.cel.values import MAX_INT, MIN_INT


@dataclass(frozen=True)
class Quantity:
    """In nano units."""

    nano: int
    type_name = "kubernetes.Quantity"

    def compare_to(self, other: Quantity) -> int:
        return (self.nano > other.nano) - (self.nano < other.nano)


def parse(text: str) -> Quantity:
    try:
        return Quantity(quantity.parse(text))
    except quantity.QuantityError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        parse(text)
    except EvaluationError:
        return False
    return True


def _is_integer(value: Quantity) -> bool:
    return value.nano % quantity.NANO == 0 and MIN_INT <= value.nano // quantity.NANO <= MAX_INT


def _as_integer(value: Quantity) -> int:
    if not _is_integer(value):
        raise EvaluationError("cannot convert value to integer")
    return value.nano // quantity.NANO


def _nano(value: Any) -> int:
    return value.nano if isinstance(value, Quantity) else int(value) * quantity.NANO


_Q = "kubernetes.Quantity"
_T = traverse()

OVERLOADS: list[Overload] = [
    declare(f"quantity(string): {_Q}", parse, _T),
    declare("isQuantity(string): bool", _is_quantity, _T),
    declare(f"{_Q}->sign(): int", lambda q: (q.nano > 0) - (q.nano < 0)),
    declare(f"{_Q}->isInteger(): bool", _is_integer),
    declare(f"{_Q}->asInteger(): int", _as_integer),
    declare(f"{_Q}->asApproximateFloat(): double", lambda q: q.nano / quantity.NANO),
    declare(f"{_Q}->isGreaterThan({_Q}): bool", lambda a, b: a.nano > b.nano),
    declare(f"{_Q}->isLessThan({_Q}): bool", lambda a, b: a.nano < b.nano),
    declare(f"{_Q}->compareTo({_Q}): int", lambda a, b: a.compare_to(b)),
    *(
        overload
        for kind in (_Q, "int")
        for overload in (
            declare(f"{_Q}->add({kind}): {_Q}", lambda a, b: Quantity(a.nano + _nano(b))),
            declare(f"{_Q}->sub({kind}): {_Q}", lambda a, b: Quantity(a.nano - _nano(b))),
        )
    ),
]
