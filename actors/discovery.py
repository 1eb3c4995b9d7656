"""The endpoints file: where every actor of a cluster is, for people and tools without ray."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FILE_NAME = "endpoints.json"


def publish(folder: str, picture: dict[str, Any]) -> None:
    """Replace the file atomically. `picture` maps actor names to JSON-like descriptions."""
    target = Path(folder) / FILE_NAME
    temporary = target.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(picture, indent=1, sort_keys=True))
    temporary.replace(target)


def read(folder: str) -> dict[str, Any]:
    """The newest picture; empty if nothing has been published yet."""
    try:
        picture: dict[str, Any] = json.loads((Path(folder) / FILE_NAME).read_text())
    except FileNotFoundError:
        return {}
    return picture
