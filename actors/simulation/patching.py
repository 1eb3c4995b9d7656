"""How a bug is planted: an attribute is replaced while it is there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from unittest import mock

Patch = Callable[[], contextlib.AbstractContextManager[Any]]


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """Replace `owner.name` by what `make` builds around the original."""
    return lambda: mock.patch.object(owner, name, make(getattr(owner, name)))


def several(*patches: Patch) -> Patch:
    """All of them at once: one bug may need more than one place."""

    def plant() -> contextlib.AbstractContextManager[Any]:
        stack = contextlib.ExitStack()
        for patch in patches:
            stack.enter_context(patch())
        return stack

    return plant
