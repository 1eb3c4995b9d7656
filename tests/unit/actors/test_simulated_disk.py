"""The simulated disk keeps what was synced and nothing that it need not."""

from __future__ import annotations

import random

import pytest

from actors.simulation.disk import MemoryDisk


def _disk(seed: int = 1) -> MemoryDisk:
    return MemoryDisk(random.Random(seed))


def test_synced_bytes_and_names_survive_a_power_loss() -> None:
    disk = _disk()
    file = disk.open("/d/f", create=True)
    file.write_at(0, b"kept")
    file.sync()
    disk.sync_folder("/d")
    disk.crash()
    assert disk.open("/d/f").read_at(0, 10) == b"kept"


def test_unsynced_bytes_may_be_lost_torn_or_kept() -> None:
    outcomes = set()
    for seed in range(60):
        disk = _disk(seed)
        file = disk.open("/d/f", create=True)
        file.sync()
        disk.sync_folder("/d")
        file.write_at(0, b"x" * 600)
        disk.crash()
        outcomes.add(disk.open("/d/f").read_at(0, 600).count(b"x"))
    assert {0, 600} < outcomes


def test_a_rename_is_whole_or_not_at_all() -> None:
    names = set()
    for seed in range(30):
        disk = _disk(seed)
        disk.open("/d/a", create=True)
        disk.sync_folder("/d")
        disk.rename("/d/a", "/d/b")
        disk.crash()
        names.add(tuple(disk.list("/d")))
    assert names == {("a",), ("b",)}


def test_a_failed_sync_promises_nothing_and_a_full_disk_refuses() -> None:
    disk = _disk()
    file = disk.open("/d/f", create=True)
    disk.failing_syncs = 1
    with pytest.raises(OSError, match="sync failed"):
        file.sync()
    disk.full = True
    with pytest.raises(OSError, match="no space"):
        file.write_at(0, b"x")


def test_a_flipped_bit_is_one_bit_of_what_was_written() -> None:
    disk = _disk()
    file = disk.open("/d/f.wal", create=True)
    file.allocate(4096)
    file.write_at(0, b"\x55" * 100)
    file.sync()
    disk.sync_folder("/d")
    assert disk.flip_bit(".wal") == "/d/f.wal"
    data = disk.open("/d/f.wal").read_at(0, 4096)
    changed = [n for n in range(4096) if data[n] != (0x55 if n < 100 else 0)]
    assert len(changed) == 1
    assert changed[0] < 100
    assert (data[changed[0]] ^ 0x55).bit_count() == 1


def test_a_sector_is_torn_off_as_a_whole() -> None:
    for seed in range(60):
        disk = _disk(seed)
        file = disk.open("/d/f", create=True)
        file.write_at(0, b"o" * 300)
        file.sync()
        disk.sync_folder("/d")
        file.write_at(300, b"n" * 1000)
        disk.crash()
        data = disk.open("/d/f").read_at(0, 1300).ljust(1300, b"\0")
        parts = [data[300:512], data[512:1024], data[1024:1300]]
        assert data[:300] == b"o" * 300
        assert all(len(set(part)) == 1 for part in parts)
