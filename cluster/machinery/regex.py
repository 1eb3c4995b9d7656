"""Regular expressions of users: RE2, whose matching takes time linear in the text.

Patterns in schemas and CEL come from strangers; Python's own engine can be made to backtrack for
hours. The syntax is RE2's, which is Go's. See docs/decisions/004-cel.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 8 << 20


class RegexError(ValueError):
    """The pattern is not one of RE2's; the message says why."""


@lru_cache(maxsize=512)
def compile(pattern: str) -> Any:
    """The compiled pattern. Raises RegexError."""
    try:
        return re2.compile(pattern, options=_OPTIONS)
    except re2.error as error:
        text = error.args[0] if error.args else "invalid"
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        raise RegexError(f"error parsing regexp: {shown}") from None


def search(pattern: str, text: str) -> bool:
    """Whether it matches anywhere."""
    return compile(pattern).search(text) is not None
