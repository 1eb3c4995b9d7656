"""From one type to another; what does not fit is an error."""

from __future__ import annotations

import math
import re
from typing import Any

from cluster.machinery.cel import clock
from cluster.machinery.cel.bounds import checked_int, checked_uint
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import Overload, declare, traverse
from cluster.machinery.cel.values import (
    MAX_INT,
    MAX_UINT,
    MIN_INT,
    Duration,
    TypeValue,
    UInt,
    type_name,
)

_INT = re.compile(r"[+-]?[0-9]+")
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
MAX_DIGITS = 40


def _double_to_int(value: float) -> int:
    if not math.isfinite(value) or not MIN_INT < value < MAX_INT:
        raise EvaluationError("integer overflow")
    return math.trunc(value)


def _text_to_int(text: str) -> int:
    if not _INT.fullmatch(text) or len(text) > MAX_DIGITS:
        raise EvaluationError(f'type conversion error from "{text}" to int')
    return checked_int(int(text))


def _double_to_uint(value: float) -> UInt:
    if not math.isfinite(value) or not 0 <= value < MAX_UINT:
        raise EvaluationError("unsigned integer overflow")
    return UInt(math.trunc(value))


def _text_to_uint(text: str) -> UInt:
    if not _INT.fullmatch(text) or text[0] in "+-" or len(text) > MAX_DIGITS:
        raise EvaluationError(f'type conversion error from "{text}" to uint')
    return checked_uint(int(text))


def _text_to_double(text: str) -> float:
    stripped = text.replace("_", "x")
    try:
        return float(stripped) if stripped == stripped.strip() else float("x")
    except ValueError:
        raise EvaluationError(f'type conversion error from "{text}" to double') from None


def _text_to_bool(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise EvaluationError(f'type conversion error from "{text}" to bool')


def double_text(value: float) -> str:
    """As Go's strconv writes a float64 in its shortest form."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value)) if value or math.copysign(1, value) > 0 else "-0"
    text = repr(value)
    return re.sub(r"e([+-])(\d)$", r"e\g<1>0\2", text)


def _bytes_to_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None


def type_of(value: Any) -> TypeValue:
    return TypeValue(type_name(value))


_LENGTH = traverse()

OVERLOADS: list[Overload] = [
    declare("int(int): int", lambda v: v),
    declare("int(uint): int", lambda v: checked_int(int(v))),
    declare("int(double): int", _double_to_int),
    declare("int(string): int", _text_to_int),
    declare("int(timestamp): int", lambda v: v.ns // 10**9),
    declare("int(duration): int", lambda v: v.ns),
    declare("uint(uint): uint", lambda v: v),
    declare("uint(int): uint", checked_uint),
    declare("uint(double): uint", _double_to_uint),
    declare("uint(string): uint", _text_to_uint),
    declare("double(double): double", lambda v: v),
    declare("double(int): double", float),
    declare("double(uint): double", float),
    declare("double(string): double", _text_to_double),
    declare("string(string): string", lambda v: v, None, lambda s: s[0]),
    declare("string(bool): string", lambda v: "true" if v else "false", None, lambda s: 5),
    declare("string(int): string", str, None, lambda s: 20),
    declare("string(uint): string", lambda v: str(int(v)), None, lambda s: 20),
    declare("string(double): string", double_text, None, lambda s: 25),
    declare("string(bytes): string", _bytes_to_text, _LENGTH, lambda s: s[0]),
    declare("string(timestamp): string", clock.format_timestamp, None, lambda s: 35),
    declare("string(duration): string", clock.duration_seconds, None, lambda s: 25),
    declare("bytes(bytes): bytes", lambda v: v, None, lambda s: s[0]),
    declare("bytes(string): bytes", str.encode, _LENGTH, lambda s: s[0] * 4),
    declare("bool(bool): bool", lambda v: v),
    declare("bool(string): bool", _text_to_bool),
    declare("timestamp(timestamp): timestamp", lambda v: v),
    declare("timestamp(string): timestamp", clock.parse_timestamp),
    declare("timestamp(int): timestamp", clock.from_seconds),
    declare("duration(duration): duration", lambda v: v),
    declare("duration(string): duration", clock.parse_duration),
    declare("duration(int): duration", Duration),
    declare("dyn(A): dyn", lambda v: v, None, lambda s: s[0]),
    declare("type(A): type(A)", type_of),
]
