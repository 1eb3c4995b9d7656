from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]


def test_every_test_that_the_page_of_invariants_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/invariants.md").read_text()))
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    assert named
    assert named <= defined, named - defined
