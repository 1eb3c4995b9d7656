"""Whose folder it is: decided once, durable, and never guessed."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from actors.simulation.disk import MemoryDisk
from raftstore.raft import folder, snapshot
from raftstore.raft.folder import Beginning, Identity
from raftstore.raft.wal import CorruptLog

FOUNDERS = {"a": ("a:1",), "b": ("b:1",)}
FOUNDING = Beginning("a", FOUNDERS, "token")


def new_disk() -> MemoryDisk:
    return MemoryDisk(random.Random(1))


def begin(disk: MemoryDisk, beginning: Beginning = FOUNDING, incarnation: int = 7) -> Identity:
    found = folder.begin(disk, "/data", beginning, [], incarnation)
    assert found is not None
    return found


def test_founders_make_the_same_store_and_different_ones_another() -> None:
    first, second = begin(new_disk()), begin(new_disk(), Beginning("b", FOUNDERS, "token"))
    assert first.cluster == second.cluster
    assert first.member != second.member
    assert begin(new_disk(), Beginning("a", FOUNDERS, "other")).cluster != first.cluster


def test_what_was_decided_stays_whatever_the_config_says_later() -> None:
    disk = new_disk()
    founded = begin(disk)
    disk.crash()
    assert begin(disk, Beginning("a", {"a": ("elsewhere:1",)}), incarnation=8) == founded


def test_a_folder_that_had_not_begun_when_the_power_went_begins_anew() -> None:
    for seed in range(50):
        disk = MemoryDisk(random.Random(seed))
        disk.failing_syncs = seed % 4
        try:
            begin(disk)
        except OSError:
            disk.failing_syncs = 0
        disk.crash()
        assert begin(disk, incarnation=7).incarnation == 7


def test_a_snapshot_that_a_killed_process_published_survives_a_power_loss_after_the_restart() -> (
    None
):
    disk = new_disk()
    founded = begin(disk)
    disk.open("/data/new", create=True).sync()
    disk.rename("/data/new", "/data/0000000000000009.snap")
    assert begin(disk) == founded
    disk.crash()
    assert snapshot.newest_index(disk, "/data") == 9


def test_one_that_joins_waits_to_be_told_who_it_is() -> None:
    disk = new_disk()
    assert folder.begin(disk, "/data", Beginning("new", joins=True), [], 7) is None
    told = Identity(1, 2, 7)
    folder.write(disk, "/data", told)
    disk.crash()
    assert begin(disk, Beginning("new", joins=True)) == told


def test_a_folder_of_another_member_is_set_aside_whole() -> None:
    disk = new_disk()
    before = begin(disk)
    disk.open("/data/wal/1.wal", create=True).sync()
    again = Beginning("a", FOUNDERS, "token", assigned=(before.cluster, 99))
    assert begin(disk, again, incarnation=8) == Identity(before.cluster, 99, 8)
    assert disk.list("/data") == ["identity"]
    assert disk.list("/data/wal") == []
    aside = f"/data.replaced-{before.key}"
    assert disk.list(aside) == ["0000000000000001.snap", "identity"]
    assert disk.list(f"{aside}/wal") == ["1.wal"]
    assert begin(disk, again, incarnation=9).incarnation == 8


DAMAGE: list[Callable[[bytearray], None]] = [
    lambda data: data.__setitem__(-1, data[-1] ^ 1),
    lambda data: data.clear(),
    lambda data: data.extend(b"\0"),
]


@pytest.mark.parametrize("damage", range(len(DAMAGE)))
def test_a_damaged_identity_is_refused_and_can_be_replaced(damage: int) -> None:
    disk = new_disk()
    before = begin(disk)
    file = disk.open("/data/identity")
    data = bytearray(file.read_at(0, file.size()))
    DAMAGE[damage](data)
    file.truncate(0)
    file.write_at(0, bytes(data))
    with pytest.raises(CorruptLog, match="whose folder"):
        begin(disk)
    again = Beginning("a", FOUNDERS, "token", assigned=(before.cluster, 99))
    assert begin(disk, again).member == 99


def test_a_log_without_an_identity_is_refused() -> None:
    disk = new_disk()
    disk.open("/data/wal/1.wal", create=True)
    with pytest.raises(CorruptLog, match="whose"):
        begin(disk)


def test_who_is_not_of_the_founders_is_told_how_to_join() -> None:
    with pytest.raises(ValueError, match="state: existing"):
        begin(new_disk(), Beginning("new", FOUNDERS))
