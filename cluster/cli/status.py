"""`raykube status`: what the supervisor last published, as a table or JSON."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from actors import discovery
from cluster.cli import clusters
from cluster.cli.tables import lines

COLUMNS = ("COMPONENT", "KIND", "READY", "PHASE", "RESTARTS", "PID", "ADDRESS", "DETAIL")


def run(name: str, output: str) -> None:
    """Raises CommandError if there is no such cluster."""
    shape = clusters.load(name)
    picture = discovery.read(shape.folder)
    if picture and not _alive(picture.get("supervisor", {}).get("pid")):
        click.echo("the supervisor is not running: this is the last it published", err=True)
    if output == "json":
        click.echo(json.dumps(picture, indent=2, sort_keys=True))
        return
    click.echo(lines([COLUMNS, *(_row(component, entry) for component, entry in picture.items())]))


def _row(component: str, entry: dict[str, Any]) -> tuple[str, ...]:
    addresses = entry.get("addresses") or []
    return (
        component,
        entry["kind"],
        "yes" if entry["ready"] else "no",
        entry["phase"],
        str(entry.get("restarts", 0)),
        str(entry.get("pid") or ""),
        addresses[0] if addresses else "",
        entry.get("detail", ""),
    )


def _alive(pid: int | None) -> bool:
    return pid is not None and os.path.exists(f"/proc/{pid}")
