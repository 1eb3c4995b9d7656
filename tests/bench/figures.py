"""How benchmarks tell what they measured: one JSON line a figure, with the peer's and the ratio."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple


class Load(NamedTuple):
    """What one run of a load gave."""

    per_s: float
    p50_ms: float
    p99_ms: float


def load_of(latencies_s: Sequence[float], duration_s: float) -> Load:
    ordered = sorted(latencies_s)
    p50, p99 = (ordered[len(ordered) * share // 100] * 1e3 for share in (50, 99))
    return Load(len(ordered) / duration_s, p50, p99)


def median(loads: Sequence[Load]) -> Load:
    """Of each figure over several runs."""
    return Load(*(statistics.median(values) for values in zip(*loads, strict=True)))


def tell(name: str, unit: str, own: float, peer: float | None, **facts: Any) -> None:
    """`ratio`: own figure over the peer's."""
    ratio = round(own / peer, 2) if peer else None
    line = {"figure": name, "unit": unit, "raykube": _short(own), "peer": _short(peer)}
    print(json.dumps({**line, "ratio": ratio, **facts}), flush=True)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
