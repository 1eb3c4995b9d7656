"""The commands that a person drives a cluster with, run for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RAYKUBE = [sys.executable, "-c", "from cluster.cli.main import main; main()"]


@dataclass
class Cluster:
    """A running cluster and the two commands that a person drives it with."""

    name: str
    home: str
    kubeconfig: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return Path(self.home) / self.name

    def raykube(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "RAYKUBE_HOME": self.home,
            "RAYKUBE_NAME": self.name,
            **self.environment,
        }
        return run([*RAYKUBE, *arguments], environment, check=check, timeout_s=180)

    def kubectl(
        self, *arguments: str, check: bool = True, stdin: str = "", timeout_s: float = 90
    ) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "--kubeconfig", self.kubeconfig, *arguments]
        return run(command, dict(os.environ), check=check, stdin=stdin, timeout_s=timeout_s)

    def out(self, *arguments: str, **options: Any) -> str:
        return self.kubectl(*arguments, **options).stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out("get", *arguments, "-o", "json"))
        return answer

    def components(self) -> dict[str, Any]:
        picture: dict[str, Any] = json.loads(self.raykube("status", "-o", "json").stdout)
        return picture

    def leader(self, kind: str) -> str:
        """The component of this kind that leads, as it says itself."""
        for name, entry in self.components().items():
            leads = entry.get("facts", {}).get("leader")
            if entry["kind"] == kind and leads in (True, name):
                return name
        raise LookupError(f"no {kind} leads")


def run(
    command: list[str],
    environment: dict[str, str],
    *,
    check: bool = True,
    stdin: str = "",
    timeout_s: float,
) -> subprocess.CompletedProcess[str]:
    """Run to the end; a failure shows what the command printed."""
    done = subprocess.run(
        command, env=environment, input=stdin, capture_output=True, text=True, timeout=timeout_s
    )
    if check and done.returncode != 0:
        pytest.fail(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Poll until `condition` gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while True:
        last: Any = None
        try:
            if result := condition():
                return result
        except Exception as error:
            last = error
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:.0f} s: {what} ({last})")
        time.sleep(0.1)


def fetch(url: str, data: bytes | None = None) -> str:
    with urllib.request.urlopen(url, data, timeout=5) as answer:
        text: str = answer.read().decode()
        return text
