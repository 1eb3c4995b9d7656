"""What this server counts, as Prometheus text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

BUCKETS_S = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
Labels = tuple[str, str, str]
"""(verb, resource, code); no names, so the number of series is bounded."""


class Metrics:
    """Counters of requests, their durations, and gauges that handlers keep up to date."""

    def __init__(self) -> None:
        self.watchers = 0
        self._requests: Counter[Labels] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._sum_s: Counter[str] = Counter()
        self._count: Counter[str] = Counter()

    def observe(self, verb: str, resource: str, code: int, duration_s: float) -> None:
        """One request that has been answered. Durations of watches are not kept."""
        self._requests[verb, resource, str(code)] += 1
        if verb == "watch":
            return
        self._count[verb] += 1
        self._sum_s[verb] += duration_s  # type: ignore[assignment]
        for bound in BUCKETS_S:
            if duration_s <= bound:
                self._buckets[verb, bound] += 1

    def text(self, gauges: Iterable[tuple[str, str, float]]) -> bytes:
        """The exposition format. `gauges`: (name, help, value) of what others keep."""
        lines = ["# TYPE apiserver_request_total counter"]
        for (verb, resource, code), count in sorted(self._requests.items()):
            labels = f'verb="{verb}",resource="{resource}",code="{code}"'
            lines.append(f"apiserver_request_total{{{labels}}} {count}")
        lines.append("# TYPE apiserver_request_duration_seconds histogram")
        for verb in sorted(self._count):
            lines += self._histogram(verb)
        for name, text, value in (
            ("apiserver_longrunning_requests", "open watches", self.watchers),
            *gauges,
        ):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value:g}"]
        return ("\n".join(lines) + "\n").encode()

    def _histogram(self, verb: str) -> list[str]:
        name = "apiserver_request_duration_seconds"
        lines = [
            f'{name}_bucket{{verb="{verb}",le="{bound:g}"}} {self._buckets[verb, bound]}'
            for bound in BUCKETS_S
        ]
        lines.append(f'{name}_bucket{{verb="{verb}",le="+Inf"}} {self._count[verb]}')
        lines.append(f'{name}_sum{{verb="{verb}"}} {self._sum_s[verb]:g}')
        lines.append(f'{name}_count{{verb="{verb}"}} {self._count[verb]}')
        return lines
