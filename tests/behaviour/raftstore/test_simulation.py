"""Seeds of the simulation: no violation, and the same trace in every process."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from raftstore.simulation.planted import planted
from raftstore.simulation.run import run_seed

SMOKE_SEEDS = range(1, 51)


@pytest.mark.parametrize("seed", SMOKE_SEEDS)
def test_no_promise_is_broken_under_the_faults_of_a_seed(seed: int) -> None:
    report = run_seed(seed, members=5 if seed % 10 == 0 else 3)
    assert report.violations == [], f"replay: {report.replay}"
    assert report.answered > 100
    assert report.leases > 5


def test_a_seed_gives_the_same_trace_whatever_the_hash_seed_is() -> None:
    code = "from raftstore.simulation.run import run_seed; print(run_seed(9, 5).trace_hash)"
    hashes = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert hashes[0] == hashes[1]
    assert len(hashes[0].strip()) == 32


@pytest.mark.parametrize(
    "name",
    [
        "lost watch event",
        "sessions do not deduplicate",
        "lease expires early",
        "a restored snapshot lost old values",
        "snapshots have the founders as members",
    ],
)
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        assert any(run_seed(seed).violations for seed in range(1, 9))


def test_a_failure_tells_the_command_that_replays_the_very_same() -> None:
    """Another process and another hash seed: the same faults, violations and trace hash."""
    first = _simulate(["store", "--seeds", "1", "--bug", "lost watch event"], hash_seed="1")
    replay = re.search(r"replay: scripts/simulate (.*)", first)
    assert replay is not None
    assert _simulate(shlex.split(replay[1]), hash_seed="2") == first
    assert re.search(r"VIOLATION watch from \d+ to \d+: missing", first)


def _simulate(arguments: list[str], hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "raftstore.simulation", *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    return done.stdout
