"""The table of rows, ROWS.md, as the marks of the tests say it.

usage: python tests/behaviour/nodes/suite/table.py    (writes ROWS.md anew)

Marks are what runs: where a cell says "yes" the test must pass over that runtime, where it says
"fails" it must fail, and where it says why not it is skipped with that reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[1]
TESTS = FOLDER.parents[1]
PAGE = FOLDER / "ROWS.md"
COLLECTED = "RAYKUBE_ROWS_TO"
RUNTIMES = ("process-user", "process-root", "cri", "simulated")

Cells = dict[str, str]

ELSEWHERE = {
    "[sig-node] Pods should support retrieving logs from the container over websockets":
        "behaviour/test_streams_clients.py::test_logs_come_over_websockets",
}  # fmt: skip
"""Rows of the API that tests of other folders show."""

HEAD = """# The behaviour of nodes, row by row

Behaviours are named as upstream's conformance names them; what has no such name there is ours. The
four runtimes: `process` as a user who is not root, `process` as root, `cri` (containerd), and
simulated nodes. Of rows that are about the API and its controllers there is one run, which stands
for all. Written by `suite/table.py` from the marks of the tests; `test_rows.py` compares. A number
says why there is no "yes"; what "fails" must fail, or its test does.

"""


def collected() -> dict[tuple[str, str], Cells]:
    """(row, test) -> runtime -> "yes" or why not; asked of pytest, which collects the folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", "-q", str(FOLDER)],
            env={**os.environ, COLLECTED: str(path)}, capture_output=True, text=True, check=False,
            cwd=TESTS.parent,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        lines = json.loads(path.read_text())
    found: dict[tuple[str, str], Cells] = defaultdict(dict)
    for row, test, runtime, cell in lines:
        found[row, test] |= dict.fromkeys(RUNTIMES, cell) if runtime == "any" else {runtime: cell}
    for row, test in ELSEWHERE.items():
        found[row, test] = dict.fromkeys(RUNTIMES, "yes")
    return dict(found)


def page(rows: Mapping[tuple[str, str], Cells]) -> str:
    reasons: list[str] = []

    def short(cell: str) -> str:
        if cell == "yes":
            return cell
        if cell not in reasons:
            reasons.append(cell)
        number = reasons.index(cell) + 1
        return f"fails {number}" if cell.startswith("fails: ") else str(number)

    lines = [f"| behaviour | test | {' | '.join(RUNTIMES)} |", "|---|---|" + "---|" * len(RUNTIMES)]
    for (row, test), cells in sorted(rows.items()):
        shown = " | ".join(short(cells[runtime]) for runtime in RUNTIMES)
        lines.append(f"| {row} | {test} | {shown} |")
    counts = ", ".join(
        f"{runtime} {sum(cells[runtime] == 'yes' for cells in rows.values())}"
        for runtime in RUNTIMES
    )
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    total = f"{len(rows)} rows; that pass: {counts}.\n"
    return HEAD + total + "\n" + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(collected()))
