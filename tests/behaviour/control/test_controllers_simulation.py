"""Seeds of the simulation of controllers: no violation, and the same trace in every process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cluster.simulation.planted import planted
from cluster.simulation.run import run_seed

SIMULATE = Path(__file__).parents[3] / "scripts/simulate"
SMOKE_SEEDS = (1, 11, 31, 50)


@pytest.mark.parametrize("seed", SMOKE_SEEDS)
def test_no_promise_to_workloads_is_broken_under_the_faults_of_a_seed(seed):
    report = run_seed(seed)
    assert report.violations == [], f"replay: {report.replay}"
    assert report.revisions > 400


def test_a_seed_replays_the_same_control_plane_in_every_process():
    lines = [
        subprocess.run(
            [SIMULATE, "controllers", "2"], capture_output=True, text=True, check=True, timeout=120
        ).stdout.splitlines()[0]
        for _ in range(2)
    ]
    assert lines[0] == lines[1]
    assert len(json.loads(lines[0])["trace"]) == 32


@pytest.mark.parametrize(
    ("name", "seeds"), [("expectations off", range(1, 9)), ("surge off by one", range(1, 9))]
)
def test_a_bug_planted_in_controllers_is_found(name, seeds):
    with planted(name):
        assert any(run_seed(seed).violations for seed in seeds)
