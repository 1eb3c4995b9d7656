"""Finding what a pattern matches (Kubernetes's regex library)."""

from __future__ import annotations

from typing import Any

from cluster.machinery import regex
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import Overload, declare, match_cost


def _compiled(pattern: str) -> Any:
    try:
        return regex.compile(pattern)
    except regex.RegexError as error:
        raise EvaluationError(str(error)) from None


def _find(text: str, pattern: str) -> str:
    match = _compiled(pattern).search(text)
    return str(match.group()) if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found: list[str] = []
    for match in _compiled(pattern).finditer(text) if limit else ():
        found.append(match.group())
        if len(found) == limit:
            break
    return found


def _size(sizes: Any) -> float:
    return float(sizes[0])


OVERLOADS: list[Overload] = [
    declare("string->find(string): string", _find, match_cost(), _size),
    declare("string->findAll(string): list(string)", _find_all, match_cost(), _size),
    declare("string->findAll(string,int): list(string)", _find_all, match_cost(), _size),
]
