"""Real files that lose what was not synced, as a power cut does: a new disk is the next boot."""

from __future__ import annotations

import pathlib
import random
from typing import Any

import pytest

from actors.faults.disk import LossyDisk, flip_bit
from actors.seams.disk import SystemDisk


def _disk(seed: int = 1, **odds: float) -> LossyDisk:
    return LossyDisk(random.Random(seed), **odds)


def _nothing_early() -> LossyDisk:
    return _disk(early=0.0, slow_sync=0.0)


def test_only_what_was_synced_survives(tmp_path: pathlib.Path) -> None:
    folder, disk = str(tmp_path), _nothing_early()
    kept, lost = disk.open(f"{folder}/kept", create=True), disk.open(f"{folder}/lost", create=True)
    kept.write_at(0, b"durable")
    kept.sync()
    lost.write_at(0, b"never synced")
    disk.sync_folder(folder)
    kept.write_at(0, b"VOLATILE")
    assert kept.read_at(0, 20) == b"VOLATILE"
    again = _disk()
    assert again.open(f"{folder}/kept").read_at(0, 20) == b"durable"
    assert again.open(f"{folder}/lost").read_at(0, 20) == b""


def test_names_survive_only_the_sync_of_their_folder(tmp_path: pathlib.Path) -> None:
    folder, disk = str(tmp_path), _nothing_early()
    for name in ("renamed", "removed"):
        disk.open(f"{folder}/{name}", create=True).sync()
    disk.sync_folder(folder)
    disk.open(f"{folder}/created", create=True).sync()
    disk.rename(f"{folder}/renamed", f"{folder}/target")
    disk.remove(f"{folder}/removed")
    assert disk.list(folder) == ["created", "target"]
    again = _nothing_early()
    assert again.list(folder) == ["removed", "renamed"]
    again.open(f"{folder}/created", create=True)
    again.sync_folder(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["created", "removed", "renamed"]


def test_unsynced_bytes_may_be_lost_torn_or_kept(tmp_path: pathlib.Path) -> None:
    outcomes = set()
    for seed in range(200):
        path = f"{tmp_path}/{seed}"
        disk = _disk(seed, early=0.5)
        file = disk.open(path, create=True)
        disk.sync_folder(str(tmp_path))
        file.write_at(100, b"x" * 1100)
        outcomes.add(_disk().open(path).read_at(0, 2000).count(b"x"))
    assert {0, 412, 512, 1100} <= outcomes
    assert outcomes <= {0, 176, 412, 512, 588, 688, 924, 1100}, "sectors are whole or absent"


def test_a_sync_that_power_cuts_short_leaves_some_sectors(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    def cut(descriptor: int) -> None:
        raise PowerCut

    found = set()
    for seed in range(60):
        path = f"{tmp_path}/{seed}"
        disk = _disk(seed, early=0.0, slow_sync=1.0)
        file = disk.open(path, create=True)
        disk.sync_folder(str(tmp_path))
        file.write_at(0, b"x" * 2048)
        with monkeypatch.context() as patch:
            patch.setattr("os.fdatasync", cut)
            with pytest.raises(PowerCut):
                file.sync()
        found.add(_disk().open(path).read_at(0, 4096).count(b"x"))
    assert {0, 512, 1024, 1536, 2048} == found


def test_a_failed_sync_promises_nothing_and_a_full_disk_refuses(tmp_path: pathlib.Path) -> None:
    disk = _nothing_early()
    file = disk.open(f"{tmp_path}/f", create=True)
    disk.failing_syncs = 1
    with pytest.raises(OSError, match="Input/output error"):
        file.sync()
    disk.full = True
    with pytest.raises(OSError, match="No space left"):
        file.write_at(0, b"x")
    with pytest.raises(OSError, match="No space left"):
        file.allocate(4096)


def test_a_flipped_bit_is_one_bit_outside_the_tail(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"\x55" * 100 + b"\0" * 50)
    position = flip_bit(str(path), random.Random(1), keep_tail_bytes=50)
    data = path.read_bytes()
    assert position is not None
    assert [n for n in range(100) if data[n] != 0x55] == [position]
    assert position < 50
    assert (data[position] ^ 0x55).bit_count() == 1
    assert flip_bit(str(path), random.Random(1), keep_tail_bytes=100) is None


class Pair:
    """The same operations on a lossy disk and on the real one."""

    def __init__(self, root: pathlib.Path, seed: int) -> None:
        self._randomness = random.Random(seed)
        lossy = _disk(seed, early=0.3, slow_sync=0.3)
        self._disks: list[tuple[Any, str]] = [(lossy, f"{root}/a"), (SystemDisk(), f"{root}/b")]
        self._open: dict[str, list[Any]] = {}
        for disk, folder in self._disks:
            disk.make_folder(folder)

    def step(self) -> None:
        kinds = ("open", "write", "write", "size", "sync", "rename", "remove", "sync_folder")
        kind, name = self._randomness.choice(kinds), self._randomness.choice("abc")
        disk, folder = self._disks[1]
        if kind in ("rename", "remove"):
            if disk.exists(f"{folder}/{name}"):
                self._change_name(kind, name, self._randomness.choice("xyz"))
        elif kind == "sync_folder":
            for disk, folder in self._disks:
                disk.sync_folder(folder)
        elif kind == "open" or name not in self._open:
            self._close(name)
            self._open[name] = [d.open(f"{f}/{name}", create=True) for d, f in self._disks]
        else:
            self._change(self._open[name], kind)

    def _change(self, files: list[Any], kind: str) -> None:
        offset, truncate = self._randomness.randrange(3000), self._randomness.random() < 0.5
        data = self._randomness.randbytes(self._randomness.randrange(2000))
        for file in files:
            if kind == "write":
                file.write_at(offset, data)
            elif kind == "sync":
                file.sync()
            else:
                file.truncate(offset) if truncate else file.allocate(offset + 1)

    def _change_name(self, kind: str, name: str, target: str) -> None:
        for disk, folder in self._disks:
            if kind == "remove":
                disk.remove(f"{folder}/{name}")
            else:
                disk.rename(f"{folder}/{name}", f"{folder}/{target}")
        self._close(name)

    def _close(self, name: str) -> None:
        for file in self._open.pop(name, []):
            file.close()

    def facts(self) -> list[dict[str, tuple[int, bytes]]]:
        """Of each disk: names, sizes and contents."""
        return [{n: self._read(d.open(f"{f}/{n}")) for n in d.list(f)} for d, f in self._disks]

    def _read(self, file: Any) -> tuple[int, bytes]:
        try:
            return file.size(), file.read_at(7, 6000)
        finally:
            file.close()


@pytest.mark.parametrize("seed", range(20))
def test_to_its_process_it_is_a_disk_like_any_other(tmp_path: pathlib.Path, seed: int) -> None:
    pair = Pair(tmp_path, seed)
    for _ in range(300):
        pair.step()
        lossy, real = pair.facts()
        assert lossy == real
    for name in "abc":
        pair._close(name)
