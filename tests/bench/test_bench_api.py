"""The benchmarks of the API server run and tell their figures; how high they are is not judged."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or not pathlib.Path("/usr/include/openssl/ssl.h").exists(),
    reason="needs a C compiler and libssl-dev",
)


def run(name: str, *options: str) -> list[dict[str, Any]]:
    script = pathlib.Path(__file__).with_name(f"bench_{name}.py")
    command = [sys.executable, str(script), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_fan_out_is_measured_with_events_from_here_and_from_elsewhere() -> None:
    figures = run("watch", "--seconds", "0.3", "--watchers", "2", "20", "--members", "1")
    assert [figure["watchers"] for figure in figures] == [2, 20, 2, 20]
    assert all(figure["raykube"] > 0 and figure["bytes_per_event"] > 500 for figure in figures)


def test_the_objective_is_measured_for_each_kind_of_request() -> None:
    options = ("--pods", "50", "--rate", "50", "--seconds", "1", "--watchers", "3")
    *requests, verdict = run("objective", *options)
    assert [figure["per_s"] > 0 for figure in requests] == [True] * 3
    assert verdict["deliveries_per_s"] > 100
