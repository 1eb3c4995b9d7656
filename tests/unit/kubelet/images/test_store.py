"""The store: names stand for content, archives of all kinds come in, users keep what they use."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.kubelet.images import packing
from cluster.kubelet.images.documents import BadImage, choose, index
from cluster.kubelet.images.names import InvalidName, parse
from cluster.kubelet.images.roots import InUse, Roots
from cluster.kubelet.images.store import ImageStore


def test_names_are_completed_as_docker_does() -> None:
    hex_ = "a" * 64
    for text, whole in {
        "busybox": "docker.io/library/busybox:latest",
        "me/app:1.2": "docker.io/me/app:1.2",
        "docker.io/busybox": "docker.io/library/busybox:latest",
        "localhost/app": "localhost/app:latest",
        "127.0.0.1:5000/a/b-c:v1": "127.0.0.1:5000/a/b-c:v1",
        f"ghcr.io/a/b@sha256:{hex_}": f"ghcr.io/a/b@sha256:{hex_}",
        f"ghcr.io/a/b:1@sha256:{hex_}": f"ghcr.io/a/b:1@sha256:{hex_}",
    }.items():
        assert str(parse(text)) == whole
        assert parse(whole) == parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "a/UPPER", "Case", "a:b:c", "a@sha256:1", "a//b", "a b", "../x", "x/" + "y" * 300, "a:",
     "-a", "a@md5:" + "0" * 32, "a\n"],
)  # fmt: skip
def test_what_cannot_be_a_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        parse(text)


def test_a_layout_is_loaded_found_by_name_and_removed(
    made: Any, store: ImageStore, tmp_path: Path
) -> None:
    folder = made.layout(
        tmp_path / "l", "example.com/app:1", made.tar_of(("a", b"1")), Cmd=["sh"], Env=["A=1"]
    )
    (image,) = packing.load(store, str(folder), "amd64")
    assert image.tags == ("example.com/app:1",)
    assert (image.config.command, image.config.env) == (("sh",), ("A=1",))
    assert store.find(parse("example.com/app:1")) == image
    assert store.find(parse(image.digests[0])) == image
    assert store.find(parse("example.com/app:2")) is None
    other = ImageStore(store.folder)  # as another process sees it
    assert other.images() == [image]
    other.forget(image.image_id)
    assert store.images() == []


def test_a_tag_moves_to_the_newer_image(made: Any, store: ImageStore, tmp_path: Path) -> None:
    for number in "12":
        layer = made.tar_of(("a", number.encode()))
        packing.load(store, str(made.layout(tmp_path / number, "app:1", layer)), "amd64")
    (image,) = store.images()
    old = [e for e in os.listdir(store.folder + "/blobs/sha256")]
    assert len(old) == 6
    long_ago = time.time() - 7200
    for name in old:
        os.utime(f"{store.folder}/blobs/sha256/{name}", (long_ago, long_ago))
    assert store.collect() > 0
    assert len(os.listdir(store.folder + "/blobs/sha256")) == 3
    assert store.images() == [image]


def test_docker_save_and_compressed_archives_are_loaded(
    made: Any, store: ImageStore, tmp_path: Path
) -> None:
    layer = made.tar_of(("a", b"1"))
    rootfs = {"type": "layers", "diff_ids": [made.digest(layer)]}
    config = json.dumps({"config": {"User": "7"}, "rootfs": rootfs}).encode()
    entry = {"Config": "c.json", "RepoTags": ["app:1", "app:2"], "Layers": ["x/layer.tar"]}
    saved = made.tar_of(
        ("c.json", config), ("x/layer.tar", layer), ("manifest.json", json.dumps([entry]).encode())
    )
    (tmp_path / "saved.tar").write_bytes(saved)
    (image,) = packing.load(store, str(tmp_path / "saved.tar"), "amd64")
    assert set(image.tags) == {"docker.io/library/app:1", "docker.io/library/app:2"}
    assert image.config.user == "7"
    assert Path(Roots(store).root(image.image_id)).exists() is False
    folder = made.layout(tmp_path / "l", "other:1", layer)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.add(folder, ".")
    (tmp_path / "layout.tgz").write_bytes(out.getvalue())
    (other,) = packing.load(store, str(tmp_path / "layout.tgz"), "amd64")
    assert other.tags == ("docker.io/library/other:1",)


def test_a_root_folder_becomes_an_image(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "r" / "bin").mkdir(parents=True)
    (tmp_path / "r" / "bin" / "tool").write_bytes(b"#!")
    with pytest.raises(BadImage, match="give one"):
        packing.load(store, str(tmp_path / "r"), "amd64")
    (image,) = packing.load(store, str(tmp_path / "r"), "amd64", parse("mine"))
    roots = Roots(store)
    os.close(roots.use(image))
    assert (Path(roots.root(image.image_id)) / "bin/tool").read_bytes() == b"#!"


@pytest.mark.parametrize("damage", ["missing", "changed", "not json", "other digest"])
def test_damaged_layouts_are_refused_and_leave_nothing(
    damage: str, made: Any, store: ImageStore, tmp_path: Path
) -> None:
    layer = made.tar_of(("a", os.urandom(1000)))
    folder = made.layout(tmp_path / "l", "app:1", layer)
    blobs = sorted((folder / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    if damage == "missing":
        blobs[-1].unlink()
    elif damage == "changed":
        blobs[-1].write_bytes(blobs[-1].read_bytes()[:-1] + b"?")
    elif damage == "not json":
        (folder / "index.json").write_text("{")
    else:
        found = json.loads((folder / "index.json").read_text())
        found["manifests"][0]["digest"] = "sha256:" + "0" * 64
        (folder / "index.json").write_text(json.dumps(found))
    with pytest.raises(BadImage):
        packing.load(store, str(folder), "amd64")
    assert store.images() == []


def test_the_manifest_of_this_machine_is_chosen() -> None:
    def entry(number: int, **platform: str) -> dict[str, Any]:
        digest = "sha256:" + str(number) * 64
        return {"digest": digest, "size": 1, "platform": platform} if platform else {
            "digest": digest, "size": 1}  # fmt: skip

    def chosen(*entries: dict[str, Any], architecture: str = "amd64", variant: str = "") -> str:
        found = choose(index({"manifests": list(entries)}), architecture, variant)
        return found.digest.removeprefix("sha256:")[:1]

    arm, amd = (
        entry(1, os="linux", architecture="arm64"),
        entry(2, os="linux", architecture="amd64"),
    )
    other = entry(3, os="windows", architecture="amd64")
    assert chosen(other, arm, amd) == "2"
    assert chosen(arm, amd, architecture="arm64", variant="v8") == "1"
    assert chosen(entry(4), arm) == "4"
    with pytest.raises(BadImage, match="no match for platform linux/amd64"):
        chosen(arm, other)


def test_a_root_in_use_by_another_process_cannot_be_removed(
    made: Any, store: ImageStore, tmp_path: Path
) -> None:
    folder = made.layout(tmp_path / "l", "app:1", made.tar_of(("a", b"1")))
    (image,) = packing.load(store, str(folder), "amd64")
    roots = Roots(store)
    os.close(roots.use(image))
    script = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH); print(1, "
    script += "flush=True); sys.stdin.read()"
    lock = os.path.join(roots.path(image.image_id), "lock")
    user = subprocess.Popen(
        [sys.executable, "-c", script, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert user.stdin is not None
    assert user.stdout is not None
    user.stdout.readline()
    assert roots.is_used(image.image_id)
    with pytest.raises(InUse):
        roots.remove(image.image_id)
    assert roots.is_unpacked(image.image_id)
    user.stdin.close()
    user.wait(60)
    user.stdout.close()
    assert not roots.is_used(image.image_id)
    roots.remove(image.image_id)
    assert not roots.is_unpacked(image.image_id)
    os.close(roots.use(image))  # and it is unpacked again when somebody wants it
