"""What PySyncObj 0.3.17 loses with its files, next to what our log does with the same damage."""

from __future__ import annotations

import asyncio
import logging
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import pytest
from pysyncobj.config import SERIALIZER_STATE
from pysyncobj.journal import FileJournal

from actors.seams import system_seams
from raftstore.client import StoreClient
from raftstore.faults.processes import free_addresses
from raftstore.member import Member
from raftstore.raft import snapshot
from raftstore.raft.consensus import Position
from raftstore.raft.install import SnapshotReceiver
from raftstore.raft.interface import Outcome
from raftstore.raft.snapshot import CorruptSnapshot, SnapshotWriter
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


def _propose(net: Any, member: Any, commands: Sequence[bytes]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for command in commands:
        member.propose(command, lambda outcome, result: outcomes.append(outcome))
    for _ in range(10):
        net.clock.now_s += 0.1
        member.doTick(0)
    return outcomes


async def _our_member(folder: pathlib.Path, keys: Sequence[bytes]) -> list[bytes]:
    """A member alone puts keys, and takes snapshots after 10 entries; all keys that it has."""
    [peer, address] = free_addresses(2)
    config = {
        **{"name": "A", "data_dir": str(folder), "peers": {"A": peer}, "peer_address": peer},
        **{"client_address": address, "snapshot_entries": 10, "keep_entries": 0, "tls": None},
    }
    member, client = Member(), StoreClient([address])
    await member.start(system_seams(), config)
    await client.start(system_seams())
    try:
        for key in keys:
            await client.put(key, b"")
        while keys and snapshot.newest(system_seams().disk, str(folder)) is None:
            await asyncio.sleep(0.01)
        return [kv.key for kv in (await client.range(b"\0", b"\0")).kvs]
    finally:
        await client.stop()
        await member.stop()


def test_t6_a_kill_between_the_snapshot_and_the_shortening_of_the_log_loses_nothing(
    system: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk holds at that moment is what a restart finds."""
    early, late = [b"early%d" % n for n in range(12)], [b"late%d" % n for n in range(5)]
    crashed = tmp_path / "crashed"
    if system.stock:
        net = system.cluster("B")
        member = system.alone(net, tmp_path)
        _propose(net, member, early)
        member.forceLogCompaction()
        member.doTick(0)
        serializer = member._SyncObj__serializer
        unfinished = (SERIALIZER_STATE.SERIALIZING, None)
        monkeypatch.setattr(serializer, "checkSerializing", lambda: unfinished)
        assert _propose(net, member, late) == [Outcome.APPLIED] * len(late)
        shutil.copytree(tmp_path, crashed)
        again = system.alone(net, crashed).applied
        system.expect(set(late) <= set(again))
        return

    with monkeypatch.context() as patch:
        patch.setattr(Wal, "forget_before", lambda self, index: None)
        asyncio.run(_our_member(crashed, early + late))
    system.expect(asyncio.run(_our_member(crashed, [])) == sorted(early + late))


def test_t17_a_snapshot_that_power_cut_short_is_not_taken_for_an_empty_state(
    system: Any, memory_disk: Any, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    if not system.stock:
        writer = SnapshotWriter(memory_disk, "/s", Position(3, 42), ["head"])
        writer.add([b"x" * 1000])
        writer.finish()
        path = snapshot.newest(memory_disk, "/s")
        del memory_disk.files[path].data[500:]
        with pytest.raises(CorruptSnapshot):
            snapshot.load(memory_disk, path)
        return
    net = system.cluster("B")
    member = system.alone(net, tmp_path)
    _propose(net, member, [b"acknowledged"] * 20)
    member.forceLogCompaction()
    for _ in range(5):
        net.clock.now_s += 0.1
        member.doTick(0)
    member.destroy()
    member.doTick(0)
    dump = tmp_path / "dump"
    dump.write_bytes(dump.read_bytes()[: dump.stat().st_size // 2])
    again = system.alone(net, tmp_path)
    system.expect(not (again.is_leader and again.applied == []))


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
