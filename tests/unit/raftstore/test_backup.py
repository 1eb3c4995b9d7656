"""Backups: our state through etcd's buckets and back, into data folders that members start from."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.seams.disk import File, SystemDisk
from raftstore import passwords, wire
from raftstore.backup import records
from raftstore.backup.file import Backup
from raftstore.backup.records import InvalidBackup
from raftstore.backup.restoring import FolderInUse, Restored, restore
from raftstore.backup.saving import Saved, save
from raftstore.bolt.writer import BoltWriter
from raftstore.errors import Compacted
from raftstore.mvcc.machine import NO_CLIENT, Machine, Request
from raftstore.raft import snapshot
from raftstore.state import ReplicatedState
from raftstore.types import ALL_FROM, Delete, Put, Range, Txn
from raftstore.wire import Kind

PEERS = {"a": "127.0.0.1:1", "b": "127.0.0.1:2"}


def execute(machine: Machine, *operation: Any) -> Any:
    request = Request(NO_CLIENT, 0, 0, wire.pack(list(operation)))
    (answer,) = machine.apply(wire.pack([list(request)]))
    return wire.answer(wire.unpack(answer))


def do(machine: Machine, op: Any) -> None:
    execute(machine, *wire.encode_op(op))


def filled() -> ReplicatedState:
    """Something of everything that a backup keeps."""
    state = ReplicatedState()
    machine = state.machine
    lease = execute(machine, Kind.LEASE_GRANT, 100, 0)[0]
    execute(machine, Kind.LEASE_GRANT, 200, 2**62)
    for number in range(50):
        do(machine, Put(b"k%d" % (number % 7), b"v%d" % number, lease if number % 3 else 0))
    do(machine, Txn([], [Put(b"t/1", b""), Put(b"t/2", b"x" * 9000), Delete(b"k1"), Range(b"k2")]))
    do(machine, Delete(b"k3"))
    execute(machine, Kind.COMPACT, 30)
    do(machine, Delete(b"k4"))
    execute(machine, Kind.ALARM, "raise", 77, "nospace")
    hashed = passwords.hash_password("pw")
    for change in [
        ("user_add", "root", hashed),
        ("user_add", "ann", b""),
        ("role_add", "r"),
        ("role_grant_permission", "r", "readwrite", b"k", b"l"),
        ("role_grant_permission", "r", "read", b"a", b"\0"),
        ("user_grant_role", "ann", "r"),
        ("user_grant_role", "root", "root"),
        ("enable", b"secret"),
    ]:
        execute(machine, Kind.AUTH, *change)
    return state


async def pieces(state: ReplicatedState) -> AsyncIterator[Any]:
    head, chunks = state.cut()
    yield head
    for chunk in chunks:
        yield wire.unpack(wire.pack(chunk))


def saved(folder: pathlib.Path, state: ReplicatedState) -> tuple[str, Saved]:
    path = str(folder / "backup.db")
    return path, asyncio.run(save(SystemDisk(), path, pieces(state)))


def loaded(folder: pathlib.Path) -> ReplicatedState:
    """What a member starts from in this folder."""
    disk = SystemDisk()
    path = snapshot.newest(disk, str(folder))
    assert path is not None
    found = snapshot.load(disk, path)
    state = ReplicatedState()
    state.restore(found.head[1], found.chunks)
    return state


def restored(tmp_path: pathlib.Path, path: str, **options: Any) -> tuple[Machine, Restored]:
    folders = {name: str(tmp_path / "new" / name) for name in PEERS}
    outcome = restore(SystemDisk(), path, folders, PEERS, **options)
    first, second = (loaded(tmp_path / "new" / name).machine for name in PEERS)
    assert first.dump() == second.dump()
    return first, outcome


def test_a_restored_backup_is_the_same_state_without_sessions(tmp_path: pathlib.Path) -> None:
    state = filled()
    path, told = saved(tmp_path, state)
    machine, outcome = restored(tmp_path, path)
    before, after = state.machine.dump(), machine.dump()
    assert outcome == Restored(before[0], before[1])
    assert told == Saved(before[0], sum(map(len, state.machine.store.cut())), told.size_bytes)
    assert list(machine.store.cut()) == list(state.machine.store.cut())
    assert after[:2] == before[:2]
    assert after[2][1] == before[2][1]
    assert after[3] == []
    assert after[4][:2] == before[4][:2]
    assert [user[:3] for user in after[4][3]] == [user[:3] for user in before[4][3]]
    assert machine.auth.role("r") == state.machine.auth.role("r")
    assert after[5] == before[5]
    assert machine.leases.keys(1) == state.machine.leases.keys(1)


def test_tokens_of_the_old_store_and_ids_of_its_leases_are_not_taken_up_again(
    tmp_path: pathlib.Path,
) -> None:
    state = filled()
    path, _ = saved(tmp_path, state)
    machine, _ = restored(tmp_path, path)
    assert machine.auth.secret not in (b"", state.machine.auth.secret)
    execute(machine, Kind.ALARM, "clear", 77, "nospace")
    old = range(1, 1000)
    assert execute(machine, Kind.LEASE_GRANT, 10, 0)[0] not in old


def test_an_empty_store_has_a_backup_too(tmp_path: pathlib.Path) -> None:
    path, told = saved(tmp_path, ReplicatedState())
    machine, outcome = restored(tmp_path, path)
    assert outcome == (1, 0)
    assert told.records == 0
    empty = Machine(lambda *_: None).dump()
    assert [machine.dump()[part] for part in (0, 1, 3, 4, 5)] == [
        empty[part] for part in (0, 1, 3, 4, 5)
    ]


def test_a_bumped_revision_makes_all_before_it_compacted(tmp_path: pathlib.Path) -> None:
    state = filled()
    path, _ = saved(tmp_path, state)
    machine, outcome = restored(tmp_path, path, bump_revision=1_000_000_000)
    revision = state.machine.store.revision + 1_000_000_000
    assert outcome == (revision, revision)
    with pytest.raises(Compacted):
        machine.read(Range(b"k2", revision=revision - 1))
    everything = Range(b"\0", ALL_FROM)
    assert machine.read(everything).kvs == state.machine.read(everything).kvs
    assert machine.store.size_bytes < state.machine.store.size_bytes
    execute(machine, Kind.ALARM, "clear", 77, "nospace")
    do(machine, Put(b"k2", b"new"))
    assert machine.read(Range(b"k2")).kvs[0].mod_revision == revision + 1


def etcd_database(path: pathlib.Path, buckets: dict[bytes, list[records.Item]]) -> File:
    """A database as etcd leaves it in its data folder: without a checksum."""
    file = SystemDisk().open(str(path), create=True)
    writer = BoltWriter(file)
    for name, items in buckets.items():
        bucket = writer.bucket(name)
        for item in items:
            bucket.add(*item)
    writer.finish()
    return file


def test_a_compaction_that_etcd_had_not_finished_is_finished(tmp_path: pathlib.Path) -> None:
    state = ReplicatedState()
    for number in range(10):
        do(state.machine, Put(b"k", b"%d" % number))
    items = [
        item for of_revision in state.machine.store.cut() for item in records.key_items(of_revision)
    ]
    scheduled = [(records.SCHEDULED, items[5][0])]
    path = tmp_path / "db"
    etcd_database(path, {records.KEYS: items, records.META: scheduled}).close()
    machine, outcome = restored(tmp_path, str(path), checked=False)
    assert outcome == (11, 7)
    assert [kv.mod_revision for r in machine.store.cut() for kv in r] == [7, 8, 9, 10, 11]


def test_a_backup_that_is_cut_off_or_changed_is_refused_and_leaves_nothing(
    tmp_path: pathlib.Path,
) -> None:
    path, _ = saved(tmp_path, filled())
    whole = pathlib.Path(path).read_bytes()
    middle = len(whole) // 2
    damaged = tmp_path / "damaged.db"
    for content, said in [
        (whole[:-100], "no checksum"),
        (whole[:-512], "checksum is another"),
        (whole[:middle] + b"!" + whole[middle + 1 :], "checksum is another"),
        (b"", "no checksum"),
        (b"x" * 1000, "no checksum"),
    ]:
        damaged.write_bytes(content)
        with pytest.raises(InvalidBackup, match=said):
            restored(tmp_path, str(damaged))
        assert not [*tmp_path.glob("new/*/*")]


def test_what_is_no_database_of_etcd_is_refused(tmp_path: pathlib.Path) -> None:
    revision = records._REVISION.pack(2, b"_", 0)
    for number, (buckets, said) in enumerate(
        [
            ({b"other": []}, "no database of etcd"),
            ({records.KEYS: [(b"short", b"")]}, "is no revision"),
            ({records.KEYS: [(revision, b"\xff\xff")]}, "damaged"),
            ({records.KEYS: [(revision, b"\x0a\x01k\x18\x03\x20\x01")]}, "of another one"),
            ({records.KEYS: [(revision, b"")]}, "without a key"),
            ({records.KEYS: [], records.USERS: [(b"u", b"\xff")]}, "damaged"),
        ]
    ):
        path = tmp_path / f"{number}.db"
        etcd_database(path, buckets).close()
        with pytest.raises(InvalidBackup, match=said):
            restored(tmp_path, str(path), checked=False)
        assert not [*tmp_path.glob("new/*/*")]


def test_a_folder_that_holds_data_is_not_restored_into(tmp_path: pathlib.Path) -> None:
    path, _ = saved(tmp_path, filled())
    (tmp_path / "new" / "b").mkdir(parents=True)
    (tmp_path / "new" / "b" / "data").write_bytes(b"mine")
    with pytest.raises(FolderInUse, match="b is not empty"):
        restored(tmp_path, path)
    assert [p.name for p in tmp_path.glob("new/*/*")] == ["data"]


def test_a_backup_that_fails_leaves_the_one_before(tmp_path: pathlib.Path) -> None:
    path, _ = saved(tmp_path, filled())
    before = pathlib.Path(path).read_bytes()

    async def broken() -> AsyncIterator[Any]:
        async for piece in pieces(filled()):
            yield piece
            raise ConnectionError("lost")

    with pytest.raises(ConnectionError):
        asyncio.run(save(SystemDisk(), path, broken()))
    assert pathlib.Path(path).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["backup.db"]


def test_a_backup_that_may_only_be_read_is_restored(tmp_path: pathlib.Path) -> None:
    path, _ = saved(tmp_path, filled())
    pathlib.Path(path).chmod(0o400)
    assert Backup(SystemDisk().open(path)).revision == filled().machine.store.revision
