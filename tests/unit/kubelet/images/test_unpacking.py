"""Layers are laid over one another as the specification says, and no layer reaches outside."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.kubelet.images.documents import BadImage
from cluster.kubelet.images.layers import Bounds, Unpacked, unpack

State = Callable[[], dict[str, bytes]]


def lay(root: Path, *layers: bytes, bounds: Bounds | None = None) -> Unpacked:
    root.mkdir(exist_ok=True)
    so_far = Unpacked()
    for layer in layers:
        unpack(io.BytesIO(layer), str(root), bounds or Bounds(), so_far)
    return so_far


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def link(target: str) -> dict[str, Any]:
    return {"type": tarfile.SYMTYPE, "linkname": target}


def hard(target: str) -> dict[str, Any]:
    return {"type": tarfile.LNKTYPE, "linkname": target}


def test_a_whiteout_hides_what_lower_layers_have(made: Any, tmp_path: Path) -> None:
    lower = made.tar_of(("a", b"1"), ("d/x", b"2"), ("d/y", b"3"), ("d/e/z", b"4"))
    upper = made.tar_of((".wh.a", b""), ("d/.wh.e", b""), ("d/y", b"new"))
    lay(tmp_path / "root", lower, upper)
    assert files(tmp_path / "root") == {"d", "d/x", "d/y"}
    assert (tmp_path / "root/d/y").read_bytes() == b"new"


@pytest.mark.parametrize("opaque_first", [True, False])
def test_an_opaque_folder_keeps_only_what_its_own_layer_has(
    made: Any, tmp_path: Path, opaque_first: bool
) -> None:
    entries = [("d/.wh..wh..opq", b""), ("d/own/deep", b"1")]
    upper = made.tar_of(*(entries if opaque_first else reversed(entries)))
    lay(tmp_path / "root", made.tar_of(("d/old", b""), ("d/own/old", b"")), upper)
    assert files(tmp_path / "root") == {"d", "d/own", "d/own/deep"}


def test_files_folders_and_links_replace_one_another(made: Any, tmp_path: Path) -> None:
    lower = made.tar_of(("a/b", b"1"), ("f", b"2"), ("l", link("a")), ("empty", None))
    upper = made.tar_of(("a", b"file"), ("f", None), ("l", b"no link"), ("empty", None))
    lay(tmp_path / "root", lower, upper)
    root = tmp_path / "root"
    assert (root / "a").read_bytes() == b"file"
    assert (root / "f").is_dir()
    assert (root / "l").read_bytes() == b"no link"
    assert not (root / "l").is_symlink()


def test_modes_owners_times_and_hard_links_are_kept(made: Any, tmp_path: Path) -> None:
    fields = {"mode": 0o755, "mtime": 1_000_000, "data": b"x"} | (
        {"uid": 12, "gid": 34, "mode": 0o4755} if os.geteuid() == 0 else {}
    )
    lay(tmp_path / "root", made.tar_of(("bin", None), ("bin/a", fields), ("bin/b", hard("bin/a"))))
    one, other = (os.stat(tmp_path / "root/bin" / name) for name in "ab")
    assert one.st_ino == other.st_ino
    assert (one.st_mode & 0o7777, one.st_mtime) == (fields["mode"], 1_000_000)
    if os.geteuid() == 0:
        assert (one.st_uid, one.st_gid) == (12, 34)


def test_links_of_lower_layers_are_followed_inside_the_root(
    made: Any, tmp_path: Path, outside: State
) -> None:
    before = outside()
    beside = str(tmp_path / "beside")
    lower = made.tar_of(
        ("usr/bin", None), ("bin", link("usr/bin")), ("abs", link(beside)), ("up", link("../../.."))
    )
    upper = made.tar_of(("bin/tool", b"1"), ("abs/secret", b"2"), ("up/beside/secret", b"3"))
    lay(tmp_path / "root", lower, upper)
    root = tmp_path / "root"
    assert (root / "usr/bin/tool").read_bytes() == b"1"
    assert (root / beside.lstrip("/") / "secret").read_bytes() == b"2"
    assert (root / "beside/secret").read_bytes() == b"3"
    assert outside() == before


HOSTILE: dict[str, Callable[[str], list[tuple[str, Any]]]] = {
    "parent folders": lambda up: [("../beside/secret", b"!"), ("a/../../../beside/secret", b"!")],
    "absolute path": lambda up: [(f"{up}/secret", b"!")],
    "a link, then through it": lambda up: [("l", link(up)), ("l/secret", b"!"), ("l/new", b"!")],
    "a link replaced by a file": lambda up: [("l", link(f"{up}/secret")), ("l", b"!")],
    "a chain of links": lambda up: [("a", link("b")), ("b", link(up)), ("a/secret", b"!")],
    "relative link": lambda up: [("l", link("../beside")), ("l/secret", b"!")],
    "whiteout through a link": lambda up: [("l", link(up)), ("l/.wh.secret", b"")],
    "opaque through a link": lambda up: [("l", link(up)), ("l/.wh..wh..opq", b"")],
    "whiteout of the parent": lambda up: [(".wh...", b""), ("d/.wh...", b"")],
    "folder over a link": lambda up: [("l", link(up)), ("l", {"type": tarfile.DIRTYPE, "mode": 0})],
    "hard link to the outside": lambda up: [("h", hard(f"{up}/secret")), ("h", b"!")],
    "hard link by parents": lambda up: [("h", hard("../beside/secret"))],
    "hard link through a link": lambda up: [("l", link(up)), ("h", hard("l/secret"))],
    "hard link to a link": lambda up: [("l", link(f"{up}/secret")), ("h", hard("l")), ("h", b"!")],
    "hard link to itself": lambda up: [("h", hard("h"))],
    "a loop of links": lambda up: [("a", link("b")), ("b", link("a")), ("a/x", b"!")],
    "deep path": lambda up: [("d/" * 2000 + "x", b"")],
    "long name": lambda up: [("n" * 5000, b"")],
    "mode through a link": lambda up: [("l", {**link(f"{up}/secret"), "mode": 0o777})],
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("apart", [False, True], ids=["one layer", "a layer each"])
def test_hostile_layers_stay_inside(
    case: str, apart: bool, made: Any, tmp_path: Path, outside: State
) -> None:
    before = outside()
    mode = (tmp_path / "beside" / "secret").stat().st_mode
    entries = HOSTILE[case](str(tmp_path / "beside"))
    layers = [made.tar_of(each) for each in entries] if apart else [made.tar_of(*entries)]
    with contextlib.suppress(BadImage):
        lay(tmp_path / "root", *layers)
    assert outside() == before
    assert (tmp_path / "beside" / "secret").stat().st_mode == mode


def test_devices_are_left_out(made: Any, tmp_path: Path) -> None:
    kinds = [tarfile.CHRTYPE, tarfile.BLKTYPE]
    entries = [(f"dev{n}", {"type": kind, "devmajor": 8}) for n, kind in enumerate(kinds)]
    so_far = lay(tmp_path / "root", made.tar_of(*entries, ("a", b"")))
    assert files(tmp_path / "root") == {"a"}
    assert so_far.skipped == 2


def test_bombs_are_stopped(made: Any, tmp_path: Path) -> None:
    bomb = gzip.compress(made.tar_of(("zeros", bytes(8 << 20))))
    assert len(bomb) < 100_000
    with pytest.raises(BadImage, match="more than 1048576 bytes"):
        lay(tmp_path / "root", bomb, bounds=Bounds(size_bytes=1 << 20))
    many = made.tar_of(*((f"f{n}", b"") for n in range(200)))
    with pytest.raises(BadImage, match="more than 100 files"):
        lay(tmp_path / "root", many, bounds=Bounds(entries=100))
    tail = gzip.compress(made.tar_of(("a", b"")) + bytes(64 << 20))
    with pytest.raises(BadImage, match="larger than the bound"):
        lay(tmp_path / "root", tail, bounds=Bounds(size_bytes=1 << 20, entries=10))


def test_a_header_that_claims_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        header = tarfile.TarInfo("x")
        header.type, header.size = kind, 4 << 30
        data = header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)
        with pytest.raises(BadImage, match="too large"):
            lay(tmp_path / "root", data)


def test_a_layer_that_is_not_what_the_config_says_is_refused(made: Any, tmp_path: Path) -> None:
    data = made.tar_of(("a", b"1"))
    (tmp_path / "root").mkdir()
    arguments = (str(tmp_path / "root"), Bounds(), Unpacked())
    unpack(io.BytesIO(gzip.compress(data)), *arguments, made.digest(data))
    with pytest.raises(BadImage, match="not what the config says"):
        unpack(io.BytesIO(data), *arguments, made.digest(b"other"))


def test_truncated_and_broken_archives_are_refused(made: Any, tmp_path: Path) -> None:
    packed = gzip.compress(made.tar_of(("a", bytes(100_000)), ("b", os.urandom(100_000))))
    for data in (packed[:-20_000], packed[:50] + b"\0" * 50 + packed[100:], b"", b"junk" * 1000):
        with pytest.raises(BadImage):
            lay(tmp_path / "root", data)


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", ".wh.a", ".wh..wh..opq", "beside",
                                  "secret"]), min_size=1, max_size=5).map("/".join)  # fmt: skip
KINDS = st.one_of(
    st.binary(max_size=5),
    st.none(),
    st.builds(link, NAMES | NAMES.map("/".__add__)),
    st.builds(hard, NAMES),
    st.just({"type": tarfile.FIFOTYPE}),
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(layers=st.lists(st.lists(st.tuples(NAMES, KINDS), max_size=8), max_size=3))
def test_whatever_layers_hold_nothing_outside_changes(
    layers: list[list[tuple[str, Any]]],
    made: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    top = tmp_path_factory.mktemp("unpack")
    (top / "beside").mkdir()
    (top / "beside" / "secret").write_bytes(b"secret")
    with contextlib.suppress(BadImage):
        lay(top / "root", *(made.tar_of(*each) for each in layers))
    assert (top / "beside" / "secret").read_bytes() == b"secret"
    assert sorted(p.name for p in top.iterdir()) == ["beside", "root"]
    assert [p.name for p in (top / "beside").iterdir()] == ["secret"]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_flipped_bytes_are_refused_or_unpacked(data: st.DataObject) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("a", "b/c", "d"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"xyz"))
    archive = bytearray(out.getvalue()[:4096])
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(archive) - 1), st.integers(0, 255)), max_size=6)
    ):
        archive[at] = value
    with tempfile.TemporaryDirectory() as top:
        with contextlib.suppress(BadImage):
            lay(Path(top) / "root", bytes(archive))
        assert os.listdir(top) == ["root"]
