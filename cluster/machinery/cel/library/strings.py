"""The strings extension (cel-go's ext.Strings, version 2): places count code points."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cluster.machinery.cel import clock
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import TRAVERSAL, Overload, declare, traverse
from cluster.machinery.cel.library.conversions import double_text
from cluster.machinery.cel.values import (
    Duration,
    Timestamp,
    TypeValue,
    keys_of,
    to_key,
    type_name,
)

MAX_SPLIT = 2**31
MAX_PRECISION = 1000
MAX_TEXT = 10 << 20
MAX_PARTS = 100_000
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
SPACES = (
    " \t\n\v\f\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


class Room:
    """How long a text may become: the costs count arguments, not what they share."""

    def __init__(self) -> None:
        self._left, self._parts = MAX_TEXT, MAX_PARTS

    def take(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise EvaluationError(f"the text is longer than {MAX_TEXT} characters")

    def part(self) -> None:
        """One more item or pair is shown."""
        self._parts -= 1
        if self._parts < 0:
            raise EvaluationError(f"more than {MAX_PARTS} values to format")


def _char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise EvaluationError(f"index out of range: {at}")
    return text[at : at + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if not 0 <= start <= len(text):
        if start == 0 or (part == "" and start == len(text)):
            return 0
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start)


def _last_index_of(text: str, part: str, last: int | None = None) -> int:
    if last is not None and not 0 <= last <= len(text):
        raise EvaluationError(f"index out of range: {last}")
    return text.rfind(part) if last is None else text.rfind(part, 0, last + len(part))


def _join(items: list[Any], separator: str = "") -> str:
    if not all(isinstance(item, str) for item in items):
        raise EvaluationError("no such overload")
    room = Room()
    room.take(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    times = text.count(old) if count < 0 else min(count, text.count(old))
    Room().take(len(text) + times * len(new))
    return text.replace(old, new, -1 if count < 0 else count)


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if count == 1:
        return [text]
    if separator == "":
        pieces = list(text)
        kept = len(pieces) if count < 0 else count - 1
        rest = "".join(pieces[kept:])
        return pieces[:kept] + ([rest] if rest else [])
    return text.split(separator, -1 if count < 0 else min(count - 1, MAX_SPLIT))


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    if not 0 <= stop <= len(text):
        raise EvaluationError(f"index out of range: {stop}")
    if start > stop:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {stop}")
    return text[start:stop]


def quote(text: str) -> str:
    """In quotes, with the escapes of CEL."""
    special = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
               "\v": "\\v", "\\": "\\\\", '"': '\\"'}  # fmt: skip
    return '"' + "".join(special.get(c, c) for c in text) + '"'


# -- format ------------------------------------------------------------------------------------


def _format(pattern: str, args: list[Any]) -> str:
    out: list[str] = []
    room = Room()
    at, used = 0, 0
    while at < len(pattern):
        if pattern[at] != "%":
            end = pattern.find("%", at)
            end = len(pattern) if end < 0 else end
            out.append(pattern[at:end])
            at = end
            continue
        if pattern.startswith("%%", at):
            out.append("%")
            at += 2
            continue
        at, precision = _precision(pattern, at + 1)
        if at >= len(pattern):
            raise EvaluationError(
                "could not parse formatting clause: unexpected end of format string"
            )
        if used >= len(args):
            raise EvaluationError(f"index {used} out of range")
        out.append(_clause(pattern[at], args[used], precision))
        room.take(len(out[-1]))
        at, used = at + 1, used + 1
    return "".join(out)


def _precision(pattern: str, at: int) -> tuple[int, int | None]:
    if not pattern.startswith(".", at):
        return at, None
    end = at + 1
    while end < len(pattern) and pattern[end].isdigit():
        end += 1
    digits = pattern[at + 1 : end]
    if len(digits) > 4 or int(digits or 0) > MAX_PRECISION:
        raise EvaluationError("error during formatting: precision is too large")
    return end, int(digits or 0)


def _clause(verb: str, value: Any, precision: int | None) -> str:
    call = _VERBS.get(verb)
    if call is None:
        raise EvaluationError(
            f'could not parse formatting clause: unrecognized formatting clause "{verb}"'
        )
    return call(value, 6 if precision is None else precision)


def _wrong(verb: str, value: Any, wanted: str) -> EvaluationError:
    return EvaluationError(
        f"error during formatting: {verb} clause can only be used on {wanted}, was given "
        f"{type_name(value)}"
    )


def _verb_s(value: Any, precision: int) -> str:
    return _shown(value, Room())


def _shown(value: Any, room: Room) -> str:
    room.part()
    if isinstance(value, list):
        return f"[{', '.join(_shown(item, room) for item in value)}]"
    if isinstance(value, dict):
        pairs = sorted((_shown(k, room), value[to_key(k)]) for k in keys_of(value))
        return "{" + ", ".join(f"{k}: {_shown(v, room)}" for k, v in pairs) + "}"
    text = _shown_scalar(value)
    room.take(len(text))
    return text


def _shown_scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float):
        return double_text(value)
    if isinstance(value, Timestamp):
        return clock.format_timestamp(value)
    if isinstance(value, Duration):
        return clock.duration_seconds(value)
    if isinstance(value, TypeValue):
        return value.name
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int):
        return str(int(value))
    wanted = "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
    raise _wrong("string", value, wanted)


def _verb_d(value: Any, precision: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong("decimal", value, "integers")
    return str(int(value))


def _fixed(value: Any, precision: int) -> str:
    return f"{_double('fixed-point', value):.{precision}f}"


def _scientific(value: Any, precision: int) -> str:
    return f"{_double('scientific', value):.{precision}e}"


def _double(verb: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise _wrong(verb, value, "doubles")
    return float(value)


def _binary(value: Any, precision: int) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, int):
        raise _wrong("binary", value, "integers and bools")
    return format(int(value), "b")


def _octal(value: Any, precision: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong("octal", value, "integers")
    return format(int(value), "o")


def _hex(letter: str) -> Callable[[Any, int], str]:
    def call(value: Any, precision: int) -> str:
        if isinstance(value, str | bytes):
            digits = (value.encode() if isinstance(value, str) else value).hex()
            return digits.upper() if letter == "X" else digits
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong("hexadecimal", value, "integers, byte buffers, and strings")
        return format(int(value), letter)

    return call


_VERBS: dict[str, Callable[[Any, int], str]] = {
    "s": _verb_s, "d": _verb_d, "f": _fixed, "e": _scientific, "b": _binary, "o": _octal,
    "x": _hex("x"), "X": _hex("X"),
}  # fmt: skip


_T = traverse()


def _same(sizes: Any) -> float:
    return float(sizes[0])


def _replaced(sizes: Any) -> float:
    return float((sizes[0] + 1) * max(sizes[2], 1))


def _twice(sizes: Any) -> float:
    """Once to read, once to write."""
    return float(2 * math.ceil(sizes[0] * TRAVERSAL))


OVERLOADS: list[Overload] = [
    declare("string->charAt(int): string", _char_at, None, lambda s: 1),
    declare("string->indexOf(string): int", _index_of, _T),
    declare("string->indexOf(string,int): int", _index_of, _T),
    declare("string->lastIndexOf(string): int", _last_index_of, _T),
    declare("string->lastIndexOf(string,int): int", _last_index_of, _T),
    declare("list(string)->join(): string", _join, _same),
    declare("list(string)->join(string): string", _join, _same),
    declare("string->lowerAscii(): string", lambda s: s.translate(_LOWER), _T, _same),
    declare("string->upperAscii(): string", lambda s: s.translate(_UPPER), _T, _same),
    declare("string->replace(string,string): string", _replace, _twice, _replaced),
    declare("string->replace(string,string,int): string", _replace, _twice, _replaced),
    declare("string->split(string): list(string)", _split, _twice, _same),
    declare("string->split(string,int): list(string)", _split, _twice, _same),
    declare("string->substring(int): string", _substring, _T, _same),
    declare("string->substring(int,int): string", _substring, _T, _same),
    declare("string->trim(): string", lambda s: s.strip(SPACES), _T, _same),
    declare("string->format(list(dyn)): string", _format, lambda s: s[0] * TRAVERSAL + s[1]),
    declare("strings.quote(string): string", quote, _T, lambda s: s[0] * 2 + 2),
]
