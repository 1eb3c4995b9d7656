from __future__ import annotations

import errno
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftstore.raft import frames
from raftstore.raft import wal as wal_module
from raftstore.raft.wal import CorruptLog, Wal

SMALL = 600


def _append(wal: Wal, indexes: range) -> None:
    for index in indexes:
        wal.append((b"x" * 100, index, 1))
        wal.sync()


def _filled(disk: Any, entries: int = 10, segment_bytes: int = SMALL) -> Wal:
    wal = Wal.open(disk, "/wal", segment_bytes)
    _append(wal, range(1, entries + 1))
    return wal


def _paths(disk: Any) -> list[str]:
    return [f"/wal/{name}" for name in disk.list("/wal")]


def test_what_was_synced_survives_power_loss_and_the_rest_does_not(memory_disk: Any) -> None:
    wal = _filled(memory_disk)
    wal.set_state(7, "B")
    wal.sync()
    wal.append((b"late", 11, 7))
    memory_disk.crash()
    again = Wal.open(memory_disk, "/wal", SMALL)
    assert [entry[1] for entry in again.entries] == list(range(1, 11))
    assert (again.term, again.voted_for) == (7, "B")


def test_a_sync_covers_all_changes_at_once(memory_disk: Any) -> None:
    wal = _filled(memory_disk, 1, 1 << 20)
    before = memory_disk.syncs
    for index in range(2, 100):
        wal.append((b"x", index, 1))
    assert wal.durable_index == 1
    wal.sync()
    wal.sync()
    assert memory_disk.syncs == before + 1
    assert wal.durable_index == 99


def test_truncation_and_reset_are_part_of_the_log(memory_disk: Any) -> None:
    wal = _filled(memory_disk)
    wal.truncate_from(5)
    wal.append((b"new", 5, 2))
    wal.sync()
    assert Wal.open(memory_disk, "/wal", SMALL).entries[4:] == [(b"new", 5, 2)]
    wal.reset(100, 3)
    wal.sync()
    assert Wal.open(memory_disk, "/wal", SMALL).entries == [(b"", 100, 3)]


def test_t7_a_torn_tail_is_cut_off_and_writing_goes_on(memory_disk: Any) -> None:
    wal = _filled(memory_disk)
    last = _paths(memory_disk)[-1]
    torn = frames.encode(wal._next_number, b"\x05" * 86)[:90]
    memory_disk.files[last].data[wal._offset : wal._offset + 90] = torn
    again = Wal.open(memory_disk, "/wal", SMALL)
    assert again.repaired_bytes == 90
    again.append((b"y", 11, 1))
    again.sync()
    memory_disk.crash()
    assert Wal.open(memory_disk, "/wal", SMALL).last_index == 11


def test_t7_damage_before_valid_frames_refuses_to_open(memory_disk: Any) -> None:
    _filled(memory_disk, 10, 1 << 16)
    [path] = _paths(memory_disk)
    memory_disk.files[path].data[290] ^= 1
    with pytest.raises(CorruptLog, match=r"damaged at byte \d+"):
        Wal.open(memory_disk, "/wal", 1 << 16)


def test_t7_damage_in_an_earlier_segment_refuses_to_open(memory_disk: Any) -> None:
    _filled(memory_disk)
    first = memory_disk.files[_paths(memory_disk)[0]]
    first.data[len(first.data.rstrip(b"\0")) - 9] ^= 1
    with pytest.raises(CorruptLog):
        Wal.open(memory_disk, "/wal", SMALL)


def test_a_missing_segment_refuses_to_open(memory_disk: Any) -> None:
    _filled(memory_disk)
    memory_disk.remove(_paths(memory_disk)[1])
    with pytest.raises(CorruptLog, match="missing"):
        Wal.open(memory_disk, "/wal", SMALL)


def test_whole_segments_are_dropped_and_the_vote_outlives_them(memory_disk: Any) -> None:
    wal = Wal.open(memory_disk, "/wal", SMALL)
    wal.set_state(4, "C")
    for index in range(1, 21):
        wal.append((b"x" * 100, index, 4))
        wal.sync()
    files = len(_paths(memory_disk))
    wal.forget_before(15)
    assert wal.first_index == 15
    assert len(_paths(memory_disk)) < files
    again = Wal.open(memory_disk, "/wal", SMALL)
    assert again.first_index <= 15
    assert again.last_index == 20
    assert (again.term, again.voted_for) == (4, "C")


def test_a_failing_sync_is_not_swallowed(memory_disk: Any) -> None:
    wal = _filled(memory_disk)
    memory_disk.fails = True
    wal.append((b"x", 11, 1))
    with pytest.raises(OSError, match="sync failed"):
        wal.sync()


def test_a_failed_sync_is_not_tried_again(memory_disk: Any) -> None:
    """The kernel may have dropped the pages and report success: it would be a lie."""
    wal = _filled(memory_disk)
    memory_disk.fails = True
    wal.append((b"x", 11, 1))
    with pytest.raises(OSError, match="must not go on"):
        wal.sync()
    memory_disk.fails = False
    wal.append((b"y", 12, 1))
    with pytest.raises(OSError, match="must not go on"):
        wal.sync()
    assert wal.durable_index == 10
    memory_disk.crash()
    assert Wal.open(memory_disk, "/wal", SMALL).last_index == 10


def test_a_full_disk_is_told_and_nothing_durable_is_lost(memory_disk: Any) -> None:
    wal = _filled(memory_disk)
    memory_disk.is_full = True
    with pytest.raises(OSError, match="disk is full: make room") as caught:
        _append(wal, range(11, 100))
    assert caught.value.errno == errno.ENOSPC
    durable_index = wal.durable_index
    memory_disk.is_full = False
    memory_disk.crash()
    again = Wal.open(memory_disk, "/wal", SMALL)
    assert again.last_index == durable_index
    again.append((b"y", durable_index + 1, 1))
    again.sync()
    memory_disk.crash()
    assert Wal.open(memory_disk, "/wal", SMALL).last_index == durable_index + 1


@pytest.mark.parametrize("value", [b"x" * 100, bytes(3000), bytes(3000) + b"x" + bytes(9)])
@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_is_refused_or_costs_nothing(
    memory_disk: Any, seed: int, value: bytes
) -> None:
    """Also in the very last frame, and whatever it holds; the end mark carries nothing."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    wal = _filled(memory_disk, 3, 1 << 16)
    first = wal._offset
    wal.append((value, 4, 1))
    wal.sync()
    data = memory_disk.files[_paths(memory_disk)[0]].data
    position = rng.randrange(rng.choice([0, first]), wal._offset)
    data[position] ^= 1 << rng.randrange(8)
    try:
        again = Wal.open(memory_disk, "/wal", 1 << 16)
    except CorruptLog:
        return
    assert [entry[1] for entry in again.entries] == [1, 2, 3, 4]


def test_every_bit_of_the_last_frame_is_watched(memory_disk: Any) -> None:
    wal = _filled(memory_disk, 3, 1 << 16)
    start = wal._offset
    wal.append((b"x" * 600, 4, 1))
    wal.sync()
    data = memory_disk.files[_paths(memory_disk)[0]].data
    for position in range(start, wal._offset - 4):
        data[position] ^= 1 << position % 8
        with pytest.raises(CorruptLog, match=f"damaged at byte {start}"):
            Wal.open(memory_disk, "/wal", 1 << 16)
        data[position] ^= 1 << position % 8


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(size=st.integers(0, 4000), seed=st.integers(0, 9999), zeros=st.booleans())
def test_a_write_that_lacks_any_of_its_sectors_is_cut_off(
    memory_disk: Any, size: int, seed: int, zeros: bool
) -> None:
    """Whatever was written: sectors reach the disk in any order, each wholly or not at all."""
    memory_disk.files.clear()
    rng = random.Random(seed)
    wal = _filled(memory_disk, 5, 1 << 16)
    start = wal._offset
    wal.append((bytes(size) if zeros else rng.randbytes(size), 6, 1))
    wal.sync()
    data = memory_disk.files[_paths(memory_disk)[0]].data
    borders = [start, *range(start - start % 512 + 512, wal._offset, 512), wal._offset]
    missing = [part for part in pairwise(borders) if rng.random() < 0.5]
    for low, high in missing:
        data[low:high] = bytes(high - low)
    again = Wal.open(memory_disk, "/wal", 1 << 16)
    lacks_payload = any(low < wal._offset - len(b"\xa5end") for low, _ in missing)
    assert again.last_index == (5 if lacks_payload else 6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(kept=st.integers(0, 2100), seed=st.integers(0, 99))
def test_any_beginning_of_the_last_frame_leaves_all_before_it(
    memory_disk: Any, kept: int, seed: int
) -> None:
    """As a killed process or a copy of the folder may leave it: cut at any byte."""
    memory_disk.files.clear()
    wal = _filled(memory_disk, 5, 1 << 16)
    start = wal._offset
    wal.append((random.Random(seed).randbytes(2000), 6, 1))
    wal.sync()
    data = memory_disk.files[_paths(memory_disk)[0]].data
    data[start + kept : wal._offset] = bytes(max(0, wal._offset - start - kept))
    again = Wal.open(memory_disk, "/wal", 1 << 16)
    assert again.last_index in (5, 6)
    assert [e[1] for e in again.entries[:5]] == [1, 2, 3, 4, 5]


def test_a_crash_while_a_segment_is_created_is_no_corruption(memory_disk: Any) -> None:
    wal = _filled(memory_disk)
    wal.set_state(3, "A")
    wal.sync()
    empty = memory_disk.open(f"/wal/{wal_module._name(wal._segment_number + 1)}", create=True)
    empty.allocate(SMALL)
    again = Wal.open(memory_disk, "/wal", SMALL)
    again.append((b"x", 11, 1))
    again.sync()
    final = Wal.open(memory_disk, "/wal", SMALL)
    assert (final.last_index, final.term, final.voted_for) == (11, 3, "A")
