"""Generated facts about the API, and the one function that reads them.

Belongs here: output of scripts/generate-tables. Does not: anything written by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

_FOLDER = Path(__file__).parent


def load(name: str) -> Any:
    """The decoded content of a table file beside this module."""
    return orjson.loads((_FOLDER / name).read_bytes())
