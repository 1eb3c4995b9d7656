"""What the scheduler measures, under kube-scheduler's names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from cluster.client.queue_metrics import Histogram

DURATION = "scheduler_scheduling_attempt_duration_seconds"


class Metrics:
    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, str]] = Counter()
        """By result and profile."""
        self.durations: dict[tuple[str, str], Histogram] = {}
        self.algorithm, self.waited = Histogram(), Histogram()
        self.preemptions = self.victims = 0

    def attempted(self, result: str, profile: str, duration_s: float) -> None:
        """`result`: scheduled, unschedulable or error; from the pod's turn to the outcome."""
        self.attempts[result, profile] += 1
        self.durations.setdefault((result, profile), Histogram()).observe(duration_s)

    def lines(self, pending: Mapping[str, int]) -> Iterator[str]:
        """Prometheus text."""
        for (result, profile), count in sorted(self.attempts.items()):
            labels = f'profile="{profile}",result="{result}"'
            yield f"scheduler_schedule_attempts_total{{{labels}}} {count}"
            yield from self.durations[result, profile].lines(DURATION, labels)
        yield from self.algorithm.lines("scheduler_scheduling_algorithm_duration_seconds", "")
        yield from self.waited.lines("scheduler_pod_scheduling_sli_duration_seconds", "")
        yield f"scheduler_preemption_attempts_total {self.preemptions}"
        yield f"scheduler_preemption_victims_sum {self.victims}"
        names = {"active": "active", "backoff": "backoff", "parked": "unschedulable"}
        for name, queue in names.items():
            yield f'scheduler_pending_pods{{queue="{queue}"}} {pending[name]}'
