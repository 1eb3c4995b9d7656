"""`raykube store members`, `status` and `move-leader`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from cluster.cli import clusters, store_client
from cluster.cli.errors import CommandError
from cluster.cli.tables import lines
from raftstore.client import StoreClient
from raftstore.types import Member

MEMBER_COLUMNS = ("ID", "NAME", "ROLE", "PEER ADDRESS", "CLIENT ADDRESS")
STATUS_COLUMNS = (
    "NAME", "ADDRESS", "HEALTHY", "LEADER", "TERM", "REVISION", "INDEX", "APPLIED", "BYTES",
)  # fmt: skip


def show_members(name: str, output: str) -> None:
    """Raises CommandError."""
    known = store_client.run(clusters.load(name), lambda client: client.member_list())
    if output == "json":
        click.echo(json.dumps([member._asdict() for member in known.members], indent=2))
        return
    click.echo(lines([MEMBER_COLUMNS, *map(_member_row, known.members)]))


def show_status(name: str, output: str) -> None:
    """Raises CommandError."""
    found = store_client.run(clusters.load(name), lambda client: client.status())
    if output == "json":
        click.echo(json.dumps([status._asdict() for status in found], indent=2))
        return
    rows = [
        (
            status.name or "-",
            status.address,
            "yes" if status.healthy else "no",
            status.leader or "-",
            str(status.term),
            str(status.revision),
            str(status.raft_index),
            str(status.applied_index),
            str(status.db_size_bytes),
        )
        for status in found
    ]
    click.echo(lines([STATUS_COLUMNS, *rows]))


def move_leader(name: str, member: str) -> None:
    """Raises CommandError."""

    async def move(client: StoreClient) -> None:
        found = find((await client.member_list()).members, member)
        await client.move_leader(found.id)

    store_client.run(clusters.load(name), move)
    click.echo(f"{member} leads")


def find(members: Sequence[Member], name: str) -> Member:
    """Raises CommandError if no member has this name."""
    for member in members:
        if member.name == name:
            return member
    known = ", ".join(sorted(member.name or "(not started)" for member in members))
    raise CommandError(f"the store has no member named {name}", hint=f"there are: {known}")


def _member_row(member: Any) -> tuple[str, ...]:
    return (
        f"{member.id:x}",
        member.name or "(not started)",
        "learner" if member.learner else "voter",
        ",".join(member.peer_addresses),
        ",".join(member.client_addresses),
    )
