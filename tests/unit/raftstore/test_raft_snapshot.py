from __future__ import annotations

from typing import Any

import pytest

from raftstore.raft import snapshot
from raftstore.raft.consensus import Position
from raftstore.raft.install import SnapshotReceiver, SnapshotSender
from raftstore.raft.snapshot import CHUNK_BYTES, CorruptSnapshot, SnapshotWriter

POSITION = Position(3, 42)


def _write(disk: Any, folder: str, position: Position = POSITION, chunks: int = 5) -> str:
    writer = SnapshotWriter(disk, folder, position, ["head"])
    for number in range(chunks):
        writer.add([number, b"x" * 200_000])
    writer.finish()
    path = snapshot.newest(disk, folder)
    assert path is not None
    return path


def test_a_snapshot_is_read_as_it_was_written_and_replaces_older_ones(memory_disk: Any) -> None:
    _write(memory_disk, "/s", Position(1, 7))
    path = _write(memory_disk, "/s")
    memory_disk.crash()
    loaded = snapshot.load(memory_disk, path)
    assert (loaded.position, loaded.head) == (POSITION, ["head"])
    assert [chunk[0] for chunk in loaded.chunks] == [0, 1, 2, 3, 4]
    assert memory_disk.list("/s") == [path.removeprefix("/s/")]
    assert snapshot.position(memory_disk, path) == POSITION


def test_a_full_disk_leaves_the_snapshot_before(memory_disk: Any) -> None:
    path = _write(memory_disk, "/s", Position(1, 7))
    memory_disk.is_full = True
    with pytest.raises(OSError, match="No space left"):
        _write(memory_disk, "/s")
    memory_disk.crash()
    assert snapshot.newest(memory_disk, "/s") == path
    assert snapshot.load(memory_disk, path).position == Position(1, 7)


def test_a_snapshot_whose_sync_fails_is_not_published(memory_disk: Any) -> None:
    writer = SnapshotWriter(memory_disk, "/s", POSITION, ["head"])
    memory_disk.fails = True
    with pytest.raises(OSError, match="sync failed"):
        writer.finish()
    assert snapshot.newest(memory_disk, "/s") is None


def test_an_unfinished_snapshot_is_never_started_from(memory_disk: Any) -> None:
    SnapshotWriter(memory_disk, "/s", POSITION, ["head"]).add([1])
    assert snapshot.newest(memory_disk, "/s") is None


@pytest.mark.parametrize("damage", ["flip", "cut", "cut at a frame"])
def test_t17_a_damaged_snapshot_is_refused(memory_disk: Any, damage: str) -> None:
    path = _write(memory_disk, "/s")
    data = memory_disk.files[path].data
    if damage == "flip":
        data[1000] ^= 1
    else:
        del data[len(data) - (15 if damage == "cut at a frame" else 3) :]
    with pytest.raises(CorruptSnapshot):
        snapshot.load(memory_disk, path)


def test_a_snapshot_that_the_disk_forgot_is_refused(memory_disk: Any) -> None:
    """Zeros are no frame: an empty payload would have the checksum 0."""
    path = _write(memory_disk, "/s")
    data = memory_disk.files[path].data
    for start in (512, 0):
        data[start:] = bytes(len(data) - start)
        with pytest.raises(CorruptSnapshot, match="damaged"):
            snapshot.load(memory_disk, path)


def test_streaming_survives_lost_and_repeated_chunks(memory_disk: Any) -> None:
    path = _write(memory_disk, "/leader")
    sender = SnapshotSender(memory_disk, path, POSITION, CHUNK_BYTES)
    receiver = SnapshotReceiver(memory_disk, "/follower")
    received, now_s, messages = None, 0.0, 0
    while received is None:
        now_s += 3.0
        message = sender.next_message(3, now_s)
        assert message is not None
        assert sender.next_message(3, now_s) is None
        messages += 1
        if messages % 3 == 1:
            continue
        received = receiver.add(message)
        if received is None:
            assert receiver.add(message) is None
        sender.answered(receiver.received_bytes)
    assert received.position == POSITION
    assert len(received.chunks) == 5


def test_t15_a_snapshot_damaged_on_the_way_is_not_acknowledged(memory_disk: Any) -> None:
    path = _write(memory_disk, "/leader", chunks=1)
    message = SnapshotSender(memory_disk, path, POSITION, CHUNK_BYTES).next_message(3, 0.0)
    assert message is not None
    receiver = SnapshotReceiver(memory_disk, "/follower")
    broken = bytearray(message["data"])
    broken[100] ^= 1
    with pytest.raises(CorruptSnapshot):
        receiver.add(message | {"data": bytes(broken)})
    assert receiver.received_bytes == 0
    assert snapshot.newest(memory_disk, "/follower") is None
    assert receiver.add(message) is not None
