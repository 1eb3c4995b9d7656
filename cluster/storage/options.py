"""What a client may ask of a write."""

from __future__ import annotations

from dataclasses import dataclass

ORPHAN = "Orphan"
BACKGROUND = "Background"
FOREGROUND = "Foreground"


@dataclass(frozen=True, slots=True)
class Preconditions:
    """Empty text: not asked for."""

    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """meta/v1 DeleteOptions; `propagation` is "" where the client leaves it to the resource."""

    grace_s: int | None = None
    propagation: str = ""
    preconditions: Preconditions = Preconditions()
    dry_run: bool = False
