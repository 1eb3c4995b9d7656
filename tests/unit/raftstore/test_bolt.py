"""Files of bbolt: what is written is read again, and damage is told, never believed."""

from __future__ import annotations

import contextlib
import pathlib
import random
import shutil
import struct
import subprocess
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.seams.disk import File, SystemDisk
from raftstore.bolt import pages
from raftstore.bolt.pages import DamagedFile
from raftstore.bolt.reader import BoltFile
from raftstore.bolt.writer import BoltWriter

Item = tuple[bytes, bytes]


def write(path: pathlib.Path, buckets: dict[bytes, Iterable[Item]]) -> File:
    file = SystemDisk().open(str(path), create=True)
    file.truncate(0)
    writer = BoltWriter(file)
    for name, items in buckets.items():
        bucket = writer.bucket(name)
        for key, value in items:
            bucket.add(key, value)
    assert writer.finish() == file.size()
    return file


def read_all(file: File) -> dict[bytes, list[Item]]:
    bolt = BoltFile(file)
    return {name: list(bolt.items(name)) for name in bolt.buckets()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("bolt")


ITEMS = st.dictionaries(st.binary(min_size=1, max_size=300), st.binary(max_size=9000), max_size=60)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=20), ITEMS, max_size=4))
def test_what_is_written_is_read_again(
    folder: pathlib.Path, buckets: dict[bytes, dict[bytes, bytes]]
) -> None:
    expected = {name: sorted(items.items()) for name, items in sorted(buckets.items())}
    file = write(folder / "any.db", expected)
    assert read_all(file) == expected
    bolt = BoltFile(file)
    for name, items in expected.items():
        assert bolt.last(name) == (items[-1] if items else None)
    assert list(bolt.items(b"no such bucket")) == []
    file.close()


def revision_keys(number: int, value_bytes: int) -> list[Item]:
    """As in etcd's bucket `key`, which its tools expect of a file."""
    return [(struct.pack(">QcQ", n, b"_", 0), b"v" * value_bytes) for n in range(2, number + 2)]


@pytest.mark.skipif(not shutil.which("etcdctl"), reason="needs etcdctl (Debian's etcd-client)")
def test_bbolts_own_check_finds_nothing_wrong(tmp_path: pathlib.Path) -> None:
    items = [*revision_keys(30_000, 40), *revision_keys(40_000, 9000)[30_000:30_300]]
    write(tmp_path / "a.db", {b"key": items, b"empty": []}).close()
    done = subprocess.run(
        ["etcdctl", "snapshot", "status", tmp_path / "a.db", "-w", "fields"],
        capture_output=True,
        text=True,
        check=False,
        env={"ETCDCTL_API": "3"},
    )
    assert (done.returncode, '"Keys" : 30300' in done.stdout) == (0, True), done
    assert f'"Size" : {(tmp_path / "a.db").stat().st_size}' in done.stdout


def test_keys_that_do_not_ascend_are_refused(tmp_path: pathlib.Path) -> None:
    bucket = BoltWriter(SystemDisk().open(str(tmp_path / "a.db"), create=True)).bucket(b"b")
    bucket.add(b"b", b"")
    for key in (b"b", b"a", b""):
        with pytest.raises(ValueError, match="does not come after"):
            bucket.add(key, b"")


def test_the_other_meta_page_counts_if_one_is_damaged(tmp_path: pathlib.Path) -> None:
    expected = {b"key": revision_keys(500, 100)}
    file = write(tmp_path / "a.db", expected)
    for number in range(2):
        intact = file.read_at(number * pages.PAGE_BYTES, pages.META_BYTES)
        file.write_at(number * pages.PAGE_BYTES + 20, b"damage")
        assert read_all(file) == expected
        file.write_at(number * pages.PAGE_BYTES, intact)
    for number in range(2):
        file.write_at(number * pages.PAGE_BYTES + 20, b"damage")
    with pytest.raises(DamagedFile, match="both of its meta pages"):
        BoltFile(file)


def test_a_file_that_is_cut_off_is_refused(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path / "a.db", {b"key": revision_keys(500, 100)})
    whole = file.size()
    for size_bytes in (0, 10, 4096, 8192, whole - 4096, whole - 1):
        file.truncate(size_bytes)
        with pytest.raises(DamagedFile):
            read_all(file)


@pytest.mark.parametrize("seed", range(300))
def test_damage_is_told_or_changes_data_and_never_does_more(
    folder: pathlib.Path, seed: int
) -> None:
    """Pages have no checksums, so a changed value is not noticed here: a backup has one."""
    chance = random.Random(seed)
    file = write(folder / "damaged.db", {b"key": revision_keys(400, 90), b"meta": [(b"a", b"1")]})
    for _ in range(chance.randint(1, 8)):
        offset = chance.choice((chance.randrange(2, file.size() // 4096) * 4096, 0))
        offset += chance.choice((chance.randrange(64), chance.randrange(4096)))
        file.write_at(min(offset, file.size() - 1), chance.randbytes(1))
    with contextlib.suppress(DamagedFile):
        found = read_all(file)
        assert all(items == sorted(items, key=lambda i: i[0]) for items in found.values())
    file.close()


def test_pages_that_refer_in_a_circle_are_told(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path / "a.db", {b"key": revision_keys(2000, 100)})
    bolt = BoltFile(file)
    branches = [
        n for n in range(2, bolt.pages) if file.read_at(n * 4096 + 8, 1) == bytes([pages.BRANCH])
    ]
    (branch,) = branches
    file.write_at(branch * 4096, pages.encode_branch(branch, [(b"\0", branch)]))
    with pytest.raises(DamagedFile, match="circle"):
        list(bolt.items(b"key"))
    with pytest.raises(DamagedFile, match="too deep"):
        bolt.last(b"key")
