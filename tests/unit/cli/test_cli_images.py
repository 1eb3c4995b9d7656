"""`raykube image`: what a person sees of loading, listing and removing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.cli import clusters
from cluster.cli.errors import CommandError
from cluster.cli.main import cli


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYKUBE_HOME", str(tmp_path / "home"))
    clusters.create("default")
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text("x")
    return root


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["image", *arguments], catch_exceptions=True)
    if isinstance(result.exception, CommandError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_folder_is_loaded_listed_and_removed(home: Path) -> None:
    assert run("load", str(home), "--as", "mine:1") == "loaded docker.io/library/mine:1\n"
    assert "docker.io/library/mine:1" in run("list")
    (found,) = json.loads(run("list", "-o", "json"))
    assert found["tags"] == ["docker.io/library/mine:1"]
    assert run("remove", found["id"][7:19]) == "removed docker.io/library/mine:1\n"
    assert json.loads(run("list", "-o", "json")) == []


def test_errors_tell_the_next_step(home: Path) -> None:
    with pytest.raises(CommandError) as nameless:
        run("load", str(home))
    assert nameless.value.hint == "give it one with --as NAME"
    with pytest.raises(CommandError, match="no image 'other' is here"):
        run("remove", "other")
    with pytest.raises(CommandError, match="invalid"):
        run("load", str(home), "--as", "NOT/A:NAME:AT:ALL")
