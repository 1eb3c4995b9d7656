"""Semantic versions (Kubernetes's semver library)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import Overload, declare, traverse

_NUMBER = r"(0|[1-9]\d*)"
_SEMVER = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
MAX_LENGTH = 1024


@dataclass(frozen=True)
class Version:
    numbers: tuple[int, int, int]
    pre: tuple[str, ...]
    type_name = "kubernetes.Semver"

    def compare_to(self, other: Version) -> int:
        """Precedence; what has a pre-release part comes before what has none."""
        if self.numbers != other.numbers:
            return 1 if self.numbers > other.numbers else -1
        if not self.pre or not other.pre:
            return (not self.pre) - (not other.pre)
        mine, theirs = _ranks(self.pre), _ranks(other.pre)
        return (mine > theirs) - (mine < theirs)


def _ranks(parts: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Numbers come before words."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]


def parse(text: str, normalize: bool = False) -> Version:
    shown = _normalized(text) if normalize else text
    match = _SEMVER.fullmatch(shown) if len(shown) <= MAX_LENGTH else None
    if match is None:
        raise EvaluationError(f'invalid semver "{text[:80]}"')
    major, minor, patch = (int(n) for n in match.groups()[:3])
    return Version((major, minor, patch), tuple((match[4] or "").split(".")) if match[4] else ())


def _normalized(text: str) -> str:
    """Without the v and leading zeros, with all three numbers."""
    text = text.removeprefix("v")
    core = re.match(r"[0-9.]*", text)
    assert core is not None
    parts = [part.lstrip("0") or "0" for part in core.group().split(".")]
    return ".".join(parts + ["0"] * (3 - len(parts))) + text[core.end() :]


def _valid(text: str, normalize: bool = False) -> bool:
    try:
        parse(text, normalize)
    except EvaluationError:
        return False
    return True


_V = "kubernetes.Semver"
_T = traverse()

OVERLOADS: list[Overload] = [
    declare(f"semver(string): {_V}", parse, _T),
    declare(f"semver(string,bool): {_V}", parse, _T),
    declare("isSemver(string): bool", _valid, _T),
    declare("isSemver(string,bool): bool", _valid, _T),
    declare(f"{_V}->major(): int", lambda v: v.numbers[0]),
    declare(f"{_V}->minor(): int", lambda v: v.numbers[1]),
    declare(f"{_V}->patch(): int", lambda v: v.numbers[2]),
    declare(f"{_V}->isGreaterThan({_V}): bool", lambda a, b: a.compare_to(b) > 0),
    declare(f"{_V}->isLessThan({_V}): bool", lambda a, b: a.compare_to(b) < 0),
    declare(f"{_V}->compareTo({_V}): int", lambda a, b: a.compare_to(b)),
]
