"""Automatic compaction: the member that leads forgets old versions, by age or by number.

As in etcd (`--auto-compaction-mode`, `--auto-compaction-retention`): in mode "periodic" history
of the last `retention` seconds stays, in mode "revision" the last `retention` revisions do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from raftstore.errors import InvalidRequest

SAMPLES = 10
"""Per retention time: how finely the age of a revision is known."""
REVISION_CHECK_S = 300.0


class CompactionPolicy(NamedTuple):
    """`retention`: seconds or revisions, according to the mode."""

    mode: Literal["off", "periodic", "revision"] = "off"
    retention: float = 0

    @classmethod
    def of(cls, setting: Mapping[str, Any] | None) -> CompactionPolicy:
        """From a member's setting `{"mode": ..., "retention": ...}`. Raises InvalidRequest."""
        policy = cls(**(setting or {}))
        if policy.mode not in ("off", "periodic", "revision"):
            raise InvalidRequest(f"unknown mode of compaction {policy.mode!r}")
        if policy.mode != "off" and policy.retention <= 0:
            raise InvalidRequest("compaction needs a retention above 0")
        return policy

    @property
    def interval_s(self) -> float:
        """How often to look."""
        if self.mode == "periodic":
            return min(self.retention / SAMPLES, REVISION_CHECK_S)
        return REVISION_CHECK_S


class Compactions:
    """Decides; `due` is asked every `policy.interval_s`."""

    def __init__(self, policy: CompactionPolicy) -> None:
        self._policy = policy
        self._samples: deque[tuple[float, int]] = deque()

    def due(self, now_s: float, revision: int, compacted_revision: int) -> int:
        """The revision to compact to now; 0: none."""
        if self._policy.mode == "revision":
            target = revision - int(self._policy.retention)
        else:
            target = self._old_revision(now_s, revision)
        return target if target > max(compacted_revision, 0) else 0

    def _old_revision(self, now_s: float, revision: int) -> int:
        """The newest revision that is known to be older than the retention."""
        self._samples.append((now_s, revision))
        found = 0
        while self._samples and self._samples[0][0] <= now_s - self._policy.retention:
            found = self._samples.popleft()[1]
        return found
