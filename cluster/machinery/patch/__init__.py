"""Patches: JSON patch, merge patch and strategic merge patch.

Belongs here: applying a patch to a document. Does not: server-side apply, and validation of
what comes out. Results are new objects; documents and patches are never changed.
"""

from __future__ import annotations

from typing import Any

import orjson


def copied(value: Any) -> Any:
    """A deep copy of a JSON value (several times as fast as copy.deepcopy)."""
    return orjson.loads(orjson.dumps(value))
