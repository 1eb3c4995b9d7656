"""`raykube store snapshot` and `restore`, and `raykube up --restore`: backups as of etcd."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from actors.placement import Machine
from actors.seams import system_seams
from cluster import compose
from cluster.cli import clusters, store_client
from cluster.cli.errors import EXISTS, USAGE, CommandError
from raftstore.backup.records import InvalidBackup
from raftstore.backup.restoring import FolderInUse, Restored, restore
from raftstore.backup.saving import Saved, save
from raftstore.client import StoreClient

KEYS = ".encryption.yaml"
PIECE_S = 30.0
"""How long a member may take for one piece of a backup."""


def snapshot(name: str, file: str) -> None:
    """Raises CommandError."""
    with _told(file):
        saved = store_client.run(clusters.load(name), lambda client: _save(client, file))
    click.echo(f"{file}: revision {saved.revision}, {saved.records} records, verified")
    keys = _keep_keys(clusters.load(name), file)
    if keys:
        click.echo(f"{keys}: the keys of the secrets in it; keep both, and keep them apart")


def keys_of(file: str) -> str:
    """Where the keys of a backup stand."""
    return f"{file}{KEYS}"


def _keep_keys(shape: compose.Shape, file: str) -> str:
    """Secrets stand encrypted in a backup too: without these it does not hold them."""
    source, target = shape.path(*compose.ENCRYPTION), keys_of(file)
    if not os.path.exists(source):
        return ""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out, open(source, "rb") as held:
        out.write(held.read())
    return target


async def _save(client: StoreClient, file: str) -> Saved:
    """Of the member that is furthest: all that was acknowledged before is in it."""
    revision = (await client.range(b"\0", count_only=True)).revision
    furthest = max(await client.status(), key=lambda status: status.revision)
    async with client.member(furthest.address, PIECE_S) as member:
        saved = await save(system_seams().disk, file, member.export())
    if saved.revision < revision:
        raise CommandError(f"{file} ends at revision {saved.revision} of {revision}: try again")
    return saved


def restore_folders(
    file: str, to: str, member: Sequence[str], bump_revision: int, skip_hash_check: bool
) -> None:
    """Raises CommandError."""
    peers = dict(map(_member, member))
    folders = {name: f"{to}/{name}" for name in peers}
    restored = _restore(file, folders, peers, bump_revision, checked=not skip_hash_check)
    click.echo(f"{', '.join(folders.values())}: {_summary(restored)}")


def restore_cluster(shape: compose.Shape, plan: compose.Plan, own: Machine, file: str) -> str:
    """Fill the folders of a cluster's members before they start; what was restored, in words.

    Raises CommandError.
    """
    members = plan.layout.members
    away = [member.name for member in members if member.machine != own]
    if away:
        raise CommandError(
            f"--restore fills folders on this machine only, and {', '.join(away)} run elsewhere",
            hint="use `raykube store restore` where they run",
            code=USAGE,
        )
    peers = {m.name: compose.store_address(members, m, compose.PEER_PORT) for m in members}
    return _summary(_restore(file, {name: shape.path("store", name) for name in peers}, peers))


def _restore(
    file: str,
    folders: Mapping[str, str],
    peers: Mapping[str, str],
    bump_revision: int = 0,
    *,
    checked: bool = True,
) -> Restored:
    disk = system_seams().disk
    with _told(file):
        return restore(disk, file, folders, peers, checked=checked, bump_revision=bump_revision)


def _summary(restored: Restored) -> str:
    return f"revision {restored.revision}, compacted up to {restored.compacted_revision}"


def _member(text: str) -> tuple[str, str]:
    name, _, address = text.partition("=")
    host, _, port = address.rpartition(":")
    if not (name and host and port.isdecimal()) or "/" in name:
        raise CommandError(f"{text!r} is no member", hint="give NAME=HOST:PORT", code=USAGE)
    return name, address


@contextmanager
def _told(file: str) -> Iterator[None]:
    try:
        yield
    except InvalidBackup as error:
        raise CommandError(f"{file} is no backup that can be used: {error}") from error
    except FolderInUse as error:
        raise CommandError(str(error), hint="restore into a new folder", code=EXISTS) from error
