"""Data folders of a new store, made from a backup: each member starts from the same snapshot.

As with etcdctl, keys keep their revisions, versions and leases, users and roles stay, leases
begin anew, and the members are those named here. A member's folder then holds one snapshot of the
log's first entry, no log, and says whose it is: of a store with an id of its own, so that members
of the one that was backed up, or of an earlier restoration, do not mix with it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from actors.seams import Disk
from raftstore.backup.file import Backup
from raftstore.mvcc.store import MvccStore
from raftstore.raft.consensus import Position
from raftstore.raft.folder import Beginning, write
from raftstore.raft.snapshot import SnapshotWriter
from raftstore.state import chunks

START = Position(1, 1)


class FolderInUse(Exception):
    """There is something where data would be restored to."""


class Restored(NamedTuple):
    """`revision`: of the new store; what is older than `compacted_revision` cannot be read."""

    revision: int
    compacted_revision: int


def restore(
    disk: Disk,
    path: str,
    folders: Mapping[str, str],
    peers: Mapping[str, str],
    *,
    checked: bool = True,
    bump_revision: int = 0,
) -> Restored:
    """Make the data folder of every member: `folders` by name, `peers` name to address.

    `checked`: refuse a backup without its checksum. `bump_revision`: add this to the revision and
    have everything before it compacted, so that watchers that have seen later revisions than the
    backup's notice and list again. Raises InvalidBackup, FolderInUse, OSError; then no folder
    has anything that a member would start from.
    """
    for folder in folders.values():
        if disk.list(folder):
            raise FolderInUse(f"{folder} is not empty")
    file = disk.open(path)
    try:
        return _write_all(disk, Backup(file, checked=checked), folders, peers, bump_revision)
    except BaseException:
        for folder in folders.values():
            for name in disk.list(folder):
                disk.remove(f"{folder}/{name}")
        raise
    finally:
        file.close()


def _write_all(
    disk: Disk,
    backup: Backup,
    folders: Mapping[str, str],
    peers: Mapping[str, str],
    bump: int,
) -> Restored:
    head, pieces = _state(backup, bump)
    founders = {name: (address,) for name, address in peers.items()}
    beginning = Beginning("", founders, secrets.token_hex(8))
    writers = [_writer(disk, folder, beginning, head) for folder in folders.values()]
    for piece in pieces:
        for writer in writers:
            writer.add(piece)
    for writer in writers:
        writer.finish()
    for name, folder in folders.items():
        write(disk, folder, beginning.identity(name, 1 + secrets.randbits(62)))
        disk.sync_folder(os.path.dirname(folder))
    return Restored(*head[:2])


def _writer(disk: Disk, folder: str, beginning: Beginning, head: Sequence[Any]) -> SnapshotWriter:
    disk.make_folder(folder)
    return SnapshotWriter(disk, folder, START, [beginning.configuration().pack(), head])


def _state(backup: Backup, bump_revision: int) -> tuple[list[Any], Iterable[Any]]:
    """Head and chunks of a snapshot (see `ReplicatedState.cut`)."""
    finished, scheduled = backup.compacted
    head = list(backup.head)
    if not bump_revision and scheduled == finished:
        return head, chunks(map(tuple, backup.records()))
    store = MvccStore.restore(head[0], finished, backup.records())
    compact_to = head[0] if bump_revision else scheduled
    if compact_to > finished:
        store.compact(compact_to)
    head[:2] = [head[0] + bump_revision, head[0] + bump_revision if bump_revision else scheduled]
    return head, chunks(store.cut())
