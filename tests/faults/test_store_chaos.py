"""Short campaigns of `scripts/chaos store`, and that they find what they are there to find."""

from __future__ import annotations

import asyncio
import pathlib
import random
import sys
from typing import Any

import pytest

from raftstore.faults import campaigns
from raftstore.faults.processes import StoreProcesses

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def seed() -> str:
    chosen = str(random.randrange(1 << 30))
    print(f"seed {chosen}")
    return chosen


def _play(campaign: Any, folder: pathlib.Path, seed: str, times: int) -> list[str]:
    figure = asyncio.run(campaign(folder, seed, times))
    print({name: value for name, value in figure.items() if name != "violations"})
    violations: list[str] = figure["violations"]
    return violations


def test_power_cuts_lose_no_acknowledged_write(tmp_path: pathlib.Path, seed: str) -> None:
    assert _play(campaigns.power_cuts, tmp_path, seed, 6) == []


def test_a_paused_leader_answers_no_stale_read(tmp_path: pathlib.Path, seed: str) -> None:
    assert _play(campaigns.leader_pauses, tmp_path, seed, 2) == []


def test_a_leader_that_is_cut_off_answers_no_stale_read(tmp_path: pathlib.Path, seed: str) -> None:
    assert _play(campaigns.leader_cuts, tmp_path, seed, 4) == []


def test_leases_end_neither_early_nor_too_late(tmp_path: pathlib.Path, seed: str) -> None:
    assert _play(campaigns.leases, tmp_path, seed, 20) == []


@pytest.mark.parametrize(
    ("bug", "campaign", "times"),
    [
        pytest.param("no sync", campaigns.power_cuts, 1, id="no sync"),
        pytest.param("no read index", campaigns.leader_cuts, 1, id="no read index"),
    ],
)
def test_a_planted_bug_is_found(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, bug: str, campaign: Any, times: int
) -> None:
    program = [sys.executable, str(pathlib.Path(__file__).with_name("planted_member.py")), bug]
    command = StoreProcesses._command
    monkeypatch.setattr(
        StoreProcesses, "_command", lambda self, name: [*program, *command(self, name)[3:]]
    )
    found = _play(campaign, tmp_path, "1", times)
    print(found[:3])
    assert found
