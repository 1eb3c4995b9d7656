"""x-kubernetes-validations (stand-in until the expressions are there)."""

from __future__ import annotations

from typing import Any

from cluster.machinery.structural.schema import Structural
from cluster.machinery.validation.field import Errors


class Rules:
    """The compiled rules of a schema."""

    def __init__(self, structural: Structural) -> None:
        self._structural = structural

    def validate(self, new: Any, old: Any, errors: Errors) -> None:
        """Append a cause for each rule that does not hold."""
