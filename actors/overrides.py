"""Settings that were changed while a cluster runs: they outlive the supervisor, in its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE_NAME = "overrides.json"


def read(folder: str) -> dict[str, dict[str, Any]]:
    """By actor; empty if nothing was changed yet."""
    try:
        found: dict[str, dict[str, Any]] = json.loads((Path(folder) / FILE_NAME).read_text())
    except FileNotFoundError:
        return {}
    return found


def add(folder: str, actor: str, settings: Mapping[str, Any]) -> None:
    """Keep settings of an actor, durably."""
    kept = read(folder)
    kept[actor] = {**kept.get(actor, {}), **settings}
    target = Path(folder) / FILE_NAME
    temporary = target.with_suffix(f".{os.getpid()}")
    with temporary.open("w") as file:
        json.dump(kept, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
