"""A limit of its own for what must be brief, whatever budget it has.

Who serves many evaluates within `brief()`: what would take longer ends with `Lengthy`, and is done
again, with its whole budget, where it holds nobody up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

COST = 25_000.0
"""Some milliseconds."""

_limited: ContextVar[bool] = ContextVar("limited", default=False)


class Lengthy(Exception):
    """It costs more than something brief may: nothing is known about its outcome."""


@contextmanager
def brief() -> Iterator[None]:
    """Meters that are made within end with `Lengthy` once they have counted COST."""
    token = _limited.set(True)
    try:
        yield
    finally:
        _limited.reset(token)


def limited() -> bool:
    return _limited.get()
