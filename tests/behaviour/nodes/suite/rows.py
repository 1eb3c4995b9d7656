"""Rows: upstream's behaviours, the test that shows each, and the runtimes over which it passes.

A test is marked with the rows it shows, with what a runtime must offer for them, and with what is
known to fail. `cell` says what a row of the table shows: "yes" where the test runs and must pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest

API = "any"
"""In place of a runtime: the row is about the API and its controllers alone."""

REASONS = {
    "process-user": {
        "root": "needs root: the node runs as another user",
        "own-root": "needs root: containers see the machine's files, volumes are elsewhere",
        "image": "containers run on the machine's own files: there is no image",
        "cgroups": "needs root: no cgroup may be written",
    },
    "process-root": {
        "image": "containers run on the machine's own files: the suite loads no image",
    },
    "cri": {
        "grpc": "the suite's image has no gRPC server",
    },
    "simulated": {
        "processes": "nothing runs: what containers print and answer is data",
        "init": "the data says how a pod's own containers end: init containers end well",
    },
}
"""What a runtime cannot do, and why."""

RUNTIMES = tuple(REASONS)
ONLY_REAL = ("root", "own-root", "image", "cgroups", "grpc")
REASONS["simulated"] |= {need: REASONS["simulated"]["processes"] for need in ONLY_REAL}


@dataclass(frozen=True)
class Shown:
    """Rows that one test shows. `gaps`: why it fails over a runtime, though it should not."""

    rows: tuple[str, ...]
    needs: tuple[str, ...] = ()
    gaps: Mapping[str, str] = field(default_factory=dict)

    def reason(self, runtime: str) -> str:
        """Why the runtime cannot show it; "" if it can."""
        known = REASONS.get(runtime, {})
        return next((known[need] for need in self.needs if need in known), "")

    def cell(self, runtime: str) -> str:
        if reason := self.reason(runtime):
            return reason
        return f"fails: {self.gaps[runtime]}" if runtime in self.gaps else "yes"


def shows(
    *rows: str, needs: Iterable[str] = (), gaps: Mapping[str, str] | None = None
) -> pytest.MarkDecorator:
    """Marks a test with the rows that it shows."""
    return pytest.mark.shows(Shown(rows, tuple(needs), gaps or {}))


def real(*rows: str, needs: Iterable[str] = (), **more: Mapping[str, str]) -> pytest.MarkDecorator:
    """The same, where containers must be processes."""
    return shows(*rows, needs=("processes", *needs), **more)
