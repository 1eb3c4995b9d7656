"""What can go wrong: in the text, in its types, while it runs, or by costing too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class CelError(Exception):
    """Base of what this package raises."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong in a text; `position` counts code points from 0."""

    position: int
    message: str

    def show(self, source: str) -> str:
        """In the form of cel-go: the place, the line, and a mark below it."""
        before = source[: self.position]
        line, column = before.count("\n") + 1, self.position - (before.rfind("\n") + 1)
        text = source.split("\n")[line - 1].replace("\t", " ")
        head = f"ERROR: <input>:{line}:{column + 1}: {self.message}"
        return f"{head}\n | {text}\n | {'.' * column}^"


class CompileError(CelError):
    """The text is not an expression, or its types do not fit."""

    def __init__(self, issues: Sequence[Issue], source: str = "") -> None:
        self.issues, self.source = tuple(issues), source
        super().__init__("\n".join(issue.show(source) for issue in self.issues))


class EvaluationError(CelError):
    """There is no value: no such key, overflow, a division by zero."""


class CostExceeded(CelError):
    """It has cost more than it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")
