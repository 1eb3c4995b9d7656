"""Short campaigns of `scripts/chaos api`, and that they find what they are there to find."""

from __future__ import annotations

import asyncio
import pathlib
import random
import sys
from typing import Any

import pytest

from cluster.faults.servers import campaigns
from cluster.faults.servers.processes import ServerProcesses

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def seed() -> str:
    chosen = str(random.randrange(1 << 30))
    print(f"seed {chosen}")
    return chosen


def _play(campaign: Any, folder: pathlib.Path, seed: str, times: int) -> list[str]:
    figure = asyncio.run(campaign(folder, seed, times, 1))
    print({name: value for name, value in figure.items() if name != "violations"})
    violations: list[str] = figure["violations"]
    return violations


def test_servers_restart_in_turn_and_no_client_notices(tmp_path: pathlib.Path, seed: str) -> None:
    assert _play(campaigns.restarts, tmp_path, seed, 3) == []


def test_two_of_three_servers_are_broken_and_no_request_fails(
    tmp_path: pathlib.Path, seed: str
) -> None:
    assert _play(campaigns.mixed, tmp_path, seed, 3) == []


@pytest.mark.parametrize("bug", ["stale reads", "lost events"])
def test_a_planted_bug_is_found(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    program = [sys.executable, str(pathlib.Path(__file__).with_name("planted_server.py")), bug]
    command = ServerProcesses._command
    monkeypatch.setattr(
        ServerProcesses, "_command", lambda self, name: [*program, *command(self, name)[3:]]
    )
    found = _play(campaigns.pauses, tmp_path, "1", 1)
    print(found[:3])
    assert found
