"""Reading Prometheus' text form, as far as kubelets write it (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: (-?\d+))?\s*")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)",?')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Sample(NamedTuple):
    """`at_s` is 0 where the line has no time."""

    name: str
    labels: dict[str, str]
    value: float
    at_s: float


def parse(text: str) -> Iterator[Sample]:
    """Comments and lines that cannot be read are passed over."""
    for line in text.splitlines():
        match = None if line.startswith("#") else _LINE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        labels = {name: _plain(raw) for name, raw in _LABEL.findall(match[2] or "")}
        yield Sample(match[1], labels, value, int(match[4] or 0) / 1000)


def _plain(text: str) -> str:
    return re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), text)
