"""`raykube store`: options and help; what the verbs do is in the modules `store_*`, imported late.

A module that has commands of its own adds them here: `store.add_command(...)`.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from cluster.cli.errors import EXIT_CODES
from cluster.cli.options import NAME

OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")


def _run(module: str, verb: str, **options: Any) -> None:
    getattr(importlib.import_module(f"cluster.cli.store_{module}"), verb)(**options)


@click.group(epilog=EXIT_CODES)
def store() -> None:
    """Look after the store (the etcd role): its members, who leads."""


@store.command("members")
@NAME
@OUTPUT
def members(**options: Any) -> None:
    """List the members that count: their ids, addresses, whether they vote."""
    _run("members", "show_members", **options)


@store.command("status")
@NAME
@OUTPUT
def status(**options: Any) -> None:
    """Ask every member how it is: term, revision, how far its log is applied, size."""
    _run("members", "show_status", **options)


@store.command("move-leader", epilog=EXIT_CODES)
@NAME
@click.argument("member")
def move_leader(**options: Any) -> None:
    """Hand leadership to MEMBER, e.g. `raykube store move-leader store-1`."""
    _run("members", "move_leader", **options)
