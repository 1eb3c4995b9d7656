"""A namespace's labels `pod-security.kubernetes.io/{enforce,audit,warn}[-version]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.machinery.status import Cause

PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
LATEST = (1, 1 << 30)
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Level:
    """`version`: (1, minor), or LATEST."""

    name: str
    version: tuple[int, int] = LATEST

    def __str__(self) -> str:
        shown = "latest" if self.version == LATEST else f"v1.{self.version[1]}"
        return f"{self.name}:{shown}"


@dataclass(frozen=True, slots=True)
class Policy:
    enforce: Level
    audit: Level
    warn: Level


def read(labels: Mapping[str, str], defaults: Mapping[str, str]) -> Policy:
    """`defaults` by the name of a label without its prefix. What is not valid enforces most."""
    levels = []
    for mode in ("enforce", "audit", "warn"):
        name = labels.get(PREFIX + mode, defaults.get(mode, "privileged"))
        if name not in LEVELS:
            name = "restricted" if mode == "enforce" else "privileged"
        given = labels.get(f"{PREFIX}{mode}-version", defaults.get(f"{mode}-version", "latest"))
        levels.append(Level(name, _version(given) or LATEST))
    return Policy(*levels)


def problems(labels: Mapping[str, str]) -> list[Cause]:
    """What is wrong with labels that a namespace is to get."""
    found = []
    for mode in ("enforce", "audit", "warn"):
        key = PREFIX + mode
        if key in labels and labels[key] not in LEVELS:
            text = f'Invalid value: "{labels[key]}": must be one of {", ".join(LEVELS)}'
            found.append(Cause("FieldValueInvalid", text, f"metadata.labels[{key}]"))
        key = f"{PREFIX}{mode}-version"
        if key in labels and _version(labels[key]) is None:
            text = f'Invalid value: "{labels[key]}": must be "latest" or "v1.x"'
            found.append(Cause("FieldValueInvalid", text, f"metadata.labels[{key}]"))
    return found


def _version(text: str) -> tuple[int, int] | None:
    if text == "latest":
        return LATEST
    match = _VERSION.fullmatch(text)
    return (1, int(match.group(1))) if match else None
