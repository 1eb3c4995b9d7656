"""What a member's folder begins with: who it is, and the configuration that it was founded with.

A founder's folder begins with a snapshot at entry 1 that every founder makes alike. Who joins
later begins with nothing but its identity, at entry 0: so its log fits nobody's, and whoever leads
sends a snapshot first, which tells it the configuration.
"""

from __future__ import annotations

import posixpath
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from actors.seams import Disk
from raftstore import identity
from raftstore.raft.consensus import Position
from raftstore.raft.membership import Configuration, Peer
from raftstore.raft.snapshot import SnapshotWriter
from raftstore.raft.wal import CorruptLog

_FILE, _TEMPORARY, _WAL = "identity", "identity.tmp", "wal"
FOUNDED = Position(0, 1)
JOINED = Position(0, 0)


class Identity(NamedTuple):
    """Whose folder it is. `incarnation`: drawn when the folder was made."""

    cluster: int
    member: int
    incarnation: int

    @property
    def key(self) -> str:
        """The member's id as configurations have it."""
        return identity.format_id(self.member)


@dataclass(frozen=True)
class Beginning:
    """What a config says of a member; a folder that has begun knows better.

    `founders`: name -> peer addresses. `joins`: the store exists already, and its members will say
    who this one is. `assigned`: (cluster, member) that a folder of another member makes way for.
    """

    name: str
    founders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    token: str = ""
    joins: bool = False
    assigned: tuple[int, int] | None = None

    def _founder_ids(self) -> dict[str, int]:
        return {
            name: identity.founder_id(addresses, self.token)
            for name, addresses in self.founders.items()
        }

    def identity(self, name: str, incarnation: int) -> Identity:
        """Of a founder."""
        ids = self._founder_ids()
        return Identity(identity.cluster_id(ids.values()), ids[name], incarnation)

    def configuration(self) -> Configuration:
        """The founders, who are known by name from the beginning."""
        ids = self._founder_ids()
        return Configuration.of(
            {identity.format_id(ids[n]): Peer(tuple(a), n) for n, a in self.founders.items()}
        )


def read(disk: Disk, folder: str) -> Identity | None:
    """None: nobody's yet. Raises CorruptLog."""
    path = f"{folder}/{_FILE}"
    if not disk.exists(path):
        return None
    file = disk.open(path)
    data = file.read_at(0, file.size())
    file.close()
    try:
        crc, fields = msgpack.unpackb(data)
        if zlib.crc32(fields) != crc:
            raise ValueError("checksum")
        return Identity(*msgpack.unpackb(fields))
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise CorruptLog(f"{path}: damaged, so whose folder this is cannot be told") from error


def write(disk: Disk, folder: str, found: Identity) -> None:
    """Durable when it returns."""
    fields = msgpack.packb(list(found))
    file = disk.open(f"{folder}/{_TEMPORARY}", create=True)
    file.truncate(0)
    file.write_at(0, msgpack.packb([zlib.crc32(fields), fields]))
    file.sync()
    file.close()
    disk.rename(f"{folder}/{_TEMPORARY}", f"{folder}/{_FILE}")
    disk.sync_folder(folder)


def begin(
    disk: Disk, folder: str, beginning: Beginning, head: Any, incarnation: int
) -> Identity | None:
    """Whose folder it is from now on; None: the store's members have to say. Raises CorruptLog.

    `head`: of a snapshot of the empty state. `incarnation`: for a folder that begins now.
    """
    disk.make_folder(f"{folder}/{_WAL}")
    disk.sync_folder(folder)
    disk.sync_folder(posixpath.dirname(folder) or ".")
    if beginning.assigned is not None:
        return _assign(disk, folder, *beginning.assigned, incarnation)
    found = read(disk, folder)
    if found is not None or beginning.joins:
        return found
    return _found(disk, folder, beginning, head, incarnation)


def _found(disk: Disk, folder: str, beginning: Beginning, head: Any, incarnation: int) -> Identity:
    """The identity is written last: without it the folder has not begun."""
    if beginning.name not in beginning.founders:
        founders = ", ".join(beginning.founders) or "none"
        raise ValueError(
            f"{beginning.name} is not of the founders ({founders}), and its folder is empty: one "
            "that joins a store needs `state: existing`"
        )
    _refuse_older(disk, folder)
    snapshot = [beginning.configuration().pack(), head]
    SnapshotWriter(disk, folder, FOUNDED, snapshot).finish()
    founded = beginning.identity(beginning.name, incarnation)
    write(disk, folder, founded)
    return founded


def _refuse_older(disk: Disk, folder: str) -> None:
    if disk.list(f"{folder}/{_WAL}"):
        raise CorruptLog(f"{folder}: there is a log, but not whose it is: a file is missing")


def _assign(disk: Disk, folder: str, cluster: int, member: int, incarnation: int) -> Identity:
    try:
        found = read(disk, folder)
    except CorruptLog:
        found = None
    if found is not None and (found.cluster, found.member) == (cluster, member):
        return found
    set_aside(disk, folder, "unknown" if found is None else found.key)
    assigned = Identity(cluster, member, incarnation)
    write(disk, folder, assigned)
    return assigned


def set_aside(disk: Disk, folder: str, label: str) -> str | None:
    """Move what a folder holds to one beside it, the identity last; its path, if it held any."""
    aside = f"{folder}.replaced-{label}"
    moved = False
    for part in (f"/{_WAL}", ""):
        names = [name for name in disk.list(folder + part) if name not in (_WAL, _FILE)]
        names += [_FILE] if not part and disk.exists(f"{folder}/{_FILE}") else []
        for name in names:
            disk.make_folder(aside + part)
            disk.rename(f"{folder}{part}/{name}", f"{aside}{part}/{name}")
            moved = True
        if names:
            disk.sync_folder(aside + part)
            disk.sync_folder(folder + part)
    return aside if moved else None
