"""Generated facts about the API, and the one function that reads them.

Belongs here: definitions, messages and resources, written by scripts/generate-tables, and
pointers.json: the scalar fields that are pointers in Go, whose zero is a value that somebody set
(`replicas: 0`); the schema does not tell them apart. Does not: rules and code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

_FOLDER = Path(__file__).parent


def load(name: str) -> Any:
    """The decoded content of a table file beside this module."""
    return orjson.loads((_FOLDER / name).read_bytes())
