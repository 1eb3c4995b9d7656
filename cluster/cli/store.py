"""`raykube store`: options and help; what the verbs do is in the modules `store_*`, imported late.

A module that has commands of its own adds them here: `store.add_command(...)`.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from cluster.cli.errors import EXIT_CODES
from cluster.cli.options import NAME, Seconds

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


@store.command("replace-member", epilog=EXIT_CODES)
@NAME
@click.argument("member")
@click.option("--wait", type=Seconds(), default="5m", show_default=True,
              help="How long it may take to copy what the others hold.")  # fmt: skip
def replace_member(**options: Any) -> None:
    """Heal MEMBER, whose folder is damaged or lost, from the others.

    It is removed and added again with an empty folder, gets the state from the others and votes
    once it has all of it. What it held is set aside. Repeat the command if it was interrupted.
    """
    _run("replace", "replace_member", **options)


@store.command("snapshot", epilog=EXIT_CODES)
@NAME
@click.argument("file", type=click.Path(dir_okay=False))
def snapshot(**options: Any) -> None:
    """Save the state to FILE, verified, in etcd's format (`etcdctl snapshot status FILE`)."""
    _run("backup", "snapshot", **options)


@store.command("restore", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--to", required=True, metavar="FOLDER", type=click.Path(file_okay=False),
              help="Make the members' folders there.")  # fmt: skip
@click.option("--member", required=True, multiple=True, metavar="NAME=HOST:PORT",
              help="A member of the new store, and where the others reach it; repeat.")  # fmt: skip
@click.option("--bump-revision", type=click.IntRange(0), default=0, metavar="N",
              help="Add N to the revision and compact all before, so that no watcher that has "
              "seen more than FILE holds goes on unaware.")  # fmt: skip
@click.option("--skip-hash-check", is_flag=True,
              help="Take a database that was copied out of a data folder of etcd.")  # fmt: skip
def restore(**options: Any) -> None:
    """Make data folders of a new store from FILE, saved from this store or from a real etcd.

    `raykube up --restore FILE` does it for a whole cluster on this machine.
    """
    _run("backup", "restore_folders", **options)
