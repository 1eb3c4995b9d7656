"""What PySyncObj 0.3.17 loses with its files, next to what our log does with the same damage."""

from __future__ import annotations

import logging
import os
import pathlib
from typing import Any

import pytest
from pysyncobj.journal import FileJournal

from raftstore.raft.consensus import Position
from raftstore.raft.install import SnapshotReceiver
from raftstore.raft.snapshot import CorruptSnapshot
from raftstore.raft.wal import CorruptLog, Wal

ENTRIES = 40


def _stock_journal(folder: pathlib.Path) -> Any:
    journal = FileJournal(str(folder / "journal"))
    journal.add(b"\x01", 1, 0)
    for index in range(2, ENTRIES + 1):
        journal.add(b"\x00cmd%03d" % index, index, 1)
    journal.setCurrentTerm(7, "B")
    journal.flush()
    return journal


def _our_log(disk: Any, segment_bytes: int = 1 << 16) -> Wal:
    wal = Wal.open(disk, "/wal", segment_bytes)
    wal.set_state(7, "B")
    for index in range(1, ENTRIES + 1):
        wal.append((b"\x00cmd%03d" % index, index, 1))
        wal.sync()
    return wal


def _only_file(disk: Any) -> bytearray:
    [name] = disk.list("/wal")
    data: bytearray = disk.files[f"/wal/{name}"].data
    return data


def test_a_vote_is_synced_before_it_is_told(
    tmp_path: pathlib.Path, memory_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, synced.append)
    journal = FileJournal(str(tmp_path / "journal"))
    journal.setCurrentTerm(7, "B")
    journal._destroy()
    assert synced == [], "the library syncs by now"
    wal = Wal.open(memory_disk, "/wal")
    wal.set_state(7, "B")
    wal.sync()
    memory_disk.crash()
    again = Wal.open(memory_disk, "/wal")
    assert (again.term, again.voted_for) == (7, "B")


def test_t7_a_flipped_bit_in_an_entry_is_noticed(tmp_path: pathlib.Path, memory_disk: Any) -> None:
    _stock_journal(tmp_path)._destroy()
    path = tmp_path / "journal"
    path.write_bytes(path.read_bytes().replace(b"cmd020", b"XXX020"))
    journal = FileJournal(str(path))
    assert journal[19][0] == b"\x00XXX020", "the library notices by now"
    journal._destroy()
    _our_log(memory_disk)
    data = _only_file(memory_disk)
    position = data.index(b"cmd020")
    data[position : position + 3] = b"XXX"
    with pytest.raises(CorruptLog):
        Wal.open(memory_disk, "/wal")


def test_t7_a_lost_vote_is_noticed(tmp_path: pathlib.Path, memory_disk: Any) -> None:
    _stock_journal(tmp_path)._destroy()
    (tmp_path / "journal.meta").write_bytes(b"")
    journal = FileJournal(str(tmp_path / "journal"))
    assert (journal.getCurrentTerm(), journal.getVotedForNodeId()) == (0, None)
    journal._destroy()
    _our_log(memory_disk)
    data = _only_file(memory_disk)
    data[data.index(b"\xa1B")] ^= 0xFF
    with pytest.raises(CorruptLog):
        Wal.open(memory_disk, "/wal")


def test_t7_a_crash_while_the_log_is_shortened_loses_nothing_that_is_kept(
    tmp_path: pathlib.Path, memory_disk: Any
) -> None:
    journal, path = _stock_journal(tmp_path), tmp_path / "journal"
    original, seen = journal.add, []

    def add(*entry: Any) -> None:
        seen.append(path.read_bytes())
        original(*entry)

    journal.add = add
    journal.deleteEntriesTo(10)
    journal._destroy()
    path.write_bytes(seen[4])
    crashed = FileJournal(str(path))
    assert len(crashed) < ENTRIES - 10, "the library keeps them by now"
    crashed._destroy()
    wal = _our_log(memory_disk, 600)
    kept: list[int] = []
    remove = memory_disk.remove

    def crash_after(path: str) -> None:
        remove(path)
        kept.append(Wal.open(memory_disk, "/wal", 600).last_index)

    memory_disk.remove = crash_after
    wal.forget_before(30)
    assert set(kept) == {ENTRIES}


def test_t14_a_restarted_member_claims_no_commitment_beyond_its_log(
    tmp_path: pathlib.Path, cluster: Any
) -> None:
    journal = _stock_journal(tmp_path)
    journal.setRaftCommitIndex(100)
    journal.onOneSecondTimer()
    journal._destroy()
    again = FileJournal(str(tmp_path / "journal"))
    assert again.getRaftCommitIndex() == 100 > len(again), "the library clamps it by now"
    again._destroy()
    net = cluster("ABC")
    net.elect("A").propose(b"x")
    net.run()
    a = net.restart("A")
    assert a.raft.commit_index <= a.wal.last_index
    assert a.applied == []


def test_t15_a_snapshot_that_cannot_be_read_is_not_acknowledged(
    system: Any, memory_disk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    if not system.stock:
        message = {"position": Position(3, 42), "offset": 0, "data": b"garbage", "size": 7}
        with pytest.raises(CorruptSnapshot):
            SnapshotReceiver(memory_disk, "/b").add(message)
        assert memory_disk.list("/b") == ["incoming.tmp"]
        return
    net = system.cluster()
    a = net.elect("A")
    for chunk in ((b"garbage", True, False), (b"", False, True)):
        net["B"].raft.receive(
            "A",
            {"type": "append_entries", "term": a.raft.term, "commit_index": 1, "serialized": chunk},
        )
    answers = [net._codec.loads(packed) for packed in net.queues["B", "A"]]
    system.expect(not any(answer.get("success") for answer in answers))
