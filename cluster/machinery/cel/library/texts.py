"""What the language itself does with strings and bytes, and sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cluster.machinery import regex
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import TRAVERSAL, Overload, declare, match_cost, traverse


def matches(text: str, pattern: str) -> bool:
    try:
        return regex.search(pattern, text)
    except regex.RegexError as error:
        raise EvaluationError(str(error)) from None


def _product(sizes: Sequence[float]) -> float:
    return math.ceil(sizes[0] * TRAVERSAL) * math.ceil(sizes[1] * TRAVERSAL)


_SECOND = traverse(1)

OVERLOADS: list[Overload] = [
    declare("string->contains(string): bool", lambda a, b: b in a, _product),
    declare("string->startsWith(string): bool", lambda a, b: a.startswith(b), _SECOND),
    declare("string->endsWith(string): bool", lambda a, b: a.endswith(b), _SECOND),
    declare("string->matches(string): bool", matches, match_cost()),
    declare("matches(string,string): bool", matches, match_cost()),
    *(
        declare(signature, len)
        for kind in ("string", "bytes", "list(A)", "map(A,B)")
        for signature in (f"size({kind}): int", f"{kind}->size(): int")
    ),
]
