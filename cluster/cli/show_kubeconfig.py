"""`raykube kubeconfig`: the administrator's kubeconfig on standard output."""

from __future__ import annotations

from pathlib import Path

import click

from cluster.cli import clusters


def run(name: str) -> None:
    shape = clusters.load(name)
    click.echo(Path(shape.path("kubeconfig")).read_text(), nl=False)
