"""The benchmarks run and tell their figures; how high they are is not judged here."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

TOOLS = ("etcd", "etcdctl", "h2load")


@pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")
def test_the_store_is_measured_beside_a_real_etcd_and_every_figure_has_its_ratio():
    script = pathlib.Path(__file__).with_name("bench_store.py")
    options = ["--seconds", "0.3", "--rounds", "1", "txn", "lease"]
    done = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert {figure["clients"] for figure in figures} == {1, 64, 1000}
    assert all(figure["raykube"] > 0 and figure["ratio"] > 0 for figure in figures)
