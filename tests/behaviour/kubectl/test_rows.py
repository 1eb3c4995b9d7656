"""The page of commands is complete: every command that kubectl has has a test that exists."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
PAGE = (Path(__file__).parent / "ROWS.md").read_text()
ROWS = re.findall(r"^\| (?!command|---)(.+?) \| .+? \| (\S+)::(\w+) \|$", PAGE, re.M)
SILENT = {"completion", "config", "options", "plugin", "alpha", "kubectl", "help"}


def commands(*of: str) -> set[str]:
    """What `kubectl OF --help` lists."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH: scripts/test installs it")
    said = subprocess.run([kubectl, *of, "--help"], capture_output=True, text=True).stdout
    listed = said.partition("Available Commands:")[2] if of else said
    return set(re.findall(r"^  ([a-z][a-z-]+) +\S", listed, re.M)) - SILENT


def words(first: str = "") -> set[str]:
    """The commands that the page names; with `first` the commands below that one."""
    found: set[str] = set()
    for row, _, _ in ROWS:
        for part in row.split(", "):
            head, _, rest = part.partition(" ")
            if not first:
                found.add(head)
            elif row.startswith(first + " "):
                found.add(rest.split(" ")[0] if head == first else head)
    return found


def test_every_command_of_kubectl_stands_on_the_page() -> None:
    assert len(ROWS) > 60
    assert commands() - words() == set()


@pytest.mark.parametrize("of", ["create", "set", "rollout", "auth", "apply", "certificate"])
def test_every_command_below_a_command_stands_on_the_page(of: str) -> None:
    below = commands(of)
    assert below
    assert below - words(of) == set()


@pytest.mark.parametrize(("row", "file", "test"), ROWS, ids=[row for row, _, _ in ROWS])
def test_each_row_has_a_test_that_exists(row: str, file: str, test: str) -> None:
    tree = ast.parse((TESTS / file).read_text())
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert test in names, row
