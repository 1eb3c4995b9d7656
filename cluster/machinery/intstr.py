"""IntOrString: a number, or a percentage of a total ("25%")."""

from __future__ import annotations

import re

_PERCENT = re.compile(r"[0-9]+%")


def is_percent(value: object) -> bool:
    """Whether it is text of digits and a percent sign."""
    return isinstance(value, str) and _PERCENT.fullmatch(value) is not None


def resolve(value: int | str, total: int, round_up: bool) -> int:
    """The number meant by `value` when the whole is `total`; ValueError for other text."""
    if isinstance(value, int):
        return value
    if not is_percent(value):
        raise ValueError(f"invalid value for IntOrString: {value!r} is not a percentage")
    product = int(value[:-1]) * total
    return -(-product // 100) if round_up else product // 100
