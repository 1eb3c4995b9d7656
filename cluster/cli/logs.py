"""`raykube logs`: a component's log file, and what comes after if asked."""

from __future__ import annotations

import collections
import time
from pathlib import Path

import click

from cluster.cli import clusters
from cluster.cli.errors import CommandError


def run(name: str, component: str, follow: bool, tail: int) -> None:
    shape = clusters.load(name)
    path = Path(shape.path("logs", f"{Path(component).name}.log"))
    if not path.exists():
        there = ", ".join(sorted(entry.stem for entry in path.parent.glob("*.log")))
        raise CommandError(f"no log of {component!r}", hint=f"there are: {there}")
    with path.open(errors="replace") as log:
        for line in collections.deque(log, maxlen=tail):
            click.echo(line, nl=False)
        while follow:
            for line in log:
                click.echo(line, nl=False)
            time.sleep(0.2)
