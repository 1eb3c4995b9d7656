"""Quantities ("100m", "1.5Gi", "1e3"): exact numbers with a suffix.

A parsed quantity is an int of nano units (the finest that upstream keeps; finer is rounded up).
"""

from __future__ import annotations

import re
from functools import lru_cache

NANO = 10**9
_FORM = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))([A-Za-z]*|[eE][+-]?[0-9]+)")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
MAX_LENGTH = 128
MAX_EXPONENT = 64
"""Beyond these no amount is real, and the arithmetic would not be bounded."""


class QuantityError(ValueError):
    """Not a quantity; the message is upstream's."""


FORMAT_WRONG = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
SUFFIX_WRONG = "unable to parse quantity's suffix"


def _scale(suffix: str) -> tuple[int, int]:
    """(numerator, denominator) of the suffix."""
    if suffix in _BINARY:
        return int(1024 ** _BINARY[suffix]), 1
    power: int | None = _DECIMAL.get(suffix)
    if power is None:
        if len(suffix) < 2 or not suffix[1:].lstrip("+-").isdigit():
            raise QuantityError(SUFFIX_WRONG)
        power = int(suffix[1:])
        if abs(power) > MAX_EXPONENT:
            raise QuantityError(FORMAT_WRONG)
    return (int(10**power), 1) if power >= 0 else (1, int(10**-power))


@lru_cache(maxsize=4096)
def _parse(text: str) -> int:
    match = _FORM.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise QuantityError(FORMAT_WRONG)
    sign, whole, fraction, bare, suffix = match.groups()
    decimals = fraction or bare or ""
    numerator, denominator = _scale(suffix)
    amount = int((whole or "0") + decimals) * numerator * NANO
    nano: int = -(-amount // (denominator * 10 ** len(decimals)))
    return -nano if sign == "-" else nano


def parse(text: str | int | float) -> int:
    """Nano units; QuantityError for what is no quantity. Bare JSON numbers are accepted."""
    return _parse(text if isinstance(text, str) else str(text))


def milli(text: str | int | float) -> int:
    """Thousandths, rounded up: what CPU is counted in."""
    return _ceil(parse(text), 10**6)


def value(text: str | int | float) -> int:
    """Whole units, rounded up: what memory is counted in."""
    return _ceil(parse(text), NANO)


def _ceil(nano: int, unit: int) -> int:
    """Away from zero, as upstream rounds."""
    return -(-nano // unit) if nano >= 0 else nano // unit


def canonical(text: str | int | float) -> str:
    """The same amount as upstream prints it: "0.5" is "500m", "1024Ki" is "1Mi"."""
    raw = text if isinstance(text, str) else str(text)
    suffix = raw.lstrip("+-0123456789.")
    nano = parse(raw)
    if suffix in _BINARY and nano % NANO == 0 and abs(nano) >= 1024 * NANO:
        return format(nano, binary=True)
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        return _exponent(nano)
    return format(nano)


def _trimmed(nano: int) -> tuple[int, int]:
    """(mantissa, power of ten), the power a multiple of three and as large as it can be."""
    power = -9
    while nano and nano % 1000 == 0 and power < 18:
        nano, power = nano // 1000, power + 3
    return nano, power


def _exponent(nano: int) -> str:
    mantissa, power = _trimmed(nano)
    return f"{mantissa}e{power}" if power and mantissa else str(mantissa)


def format(nano: int, binary: bool = False) -> str:
    """Text of an amount: the largest suffix that leaves it whole."""
    if nano == 0:
        return "0"
    if not binary or nano % NANO:
        mantissa, power = _trimmed(nano)
        return f"{mantissa}{_SUFFIX[power]}"
    units, steps = nano // NANO, 0
    while units % 1024 == 0 and steps < 6:
        units, steps = units // 1024, steps + 1
    return f"{units}{dict(zip(range(7), ['', *_BINARY], strict=True))[steps]}"
