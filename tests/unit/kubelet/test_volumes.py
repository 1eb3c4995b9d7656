"""Volumes on a node's disk: kinds, owners, parts of volumes, hostile content, and what is left."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.kubelet.environment import ConfigError
from cluster.kubelet.runtimes import host_mounts
from cluster.kubelet.runtimes.base import Mount
from cluster.kubelet.volumes import mounting, ownership, sub_paths
from cluster.kubelet.volumes.local_store import LocalStore, detach_all
from cluster.kubelet.volumes.manager import VolumeManager
from cluster.kubelet.volumes.plugins.empty_dir import EmptyDir
from cluster.kubelet.volumes.plugins.host_path import HostPath

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and owners need root")
needs_loop = pytest.mark.skipif(not mounting.can_loop(), reason="no loop devices here")


def pod(*volumes: dict[str, Any], uid: str = "u", **spec: Any) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "ns", "uid": uid}
    return {"metadata": metadata, "spec": {"volumes": list(volumes), "containers": [], **spec}}


def mount(manager: VolumeManager, obj: Any, **entry: Any) -> Mount:
    container = {"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/m", **entry}]}
    (found,) = manager.mounts(obj, container, {"N": "n"})
    return found


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[VolumeManager]:
    made = fresh(tmp_path)
    yield made
    for uid in os.listdir(tmp_path / "pods") if (tmp_path / "pods").exists() else ():
        asyncio.run(fresh(tmp_path).tear_down(uid))
    assert not mounting.below(str(tmp_path))


def fresh(folder: Path) -> VolumeManager:
    """As a kubelet that has just started has it."""
    return VolumeManager(str(folder), {"memory": "1Gi"}, [HostPath(), EmptyDir({"memory": "1Gi"})])


def set_up(manager: VolumeManager, obj: Any) -> None:
    asyncio.run(manager.set_up(obj, {}))


def test_sub_paths_are_made_inside_their_volume_and_none_leads_out(
    manager: VolumeManager, tmp_path: Path
) -> None:
    obj = pod({"name": "v", "emptyDir": {}})
    set_up(manager, obj)
    root = tmp_path / "pods/u/volumes/emptyDir/v"
    os.symlink("/etc", root / "out")
    os.symlink("../../../../..", root / "up")
    assert os.path.samefile(mount(manager, obj, subPathExpr="$(N)/x").source, root / "n/x")
    for bad in ("..", "a/../..", "/etc", "out/passwd", "out", "up"):
        with pytest.raises(ConfigError, match=r"leads out|must not be absolute"):
            mount(manager, obj, subPath=bad)


def test_links_inside_a_volume_may_be_followed_and_files_mounted(
    manager: VolumeManager, tmp_path: Path
) -> None:
    obj = pod({"name": "v", "emptyDir": {}})
    set_up(manager, obj)
    root = tmp_path / "pods/u/volumes/emptyDir/v"
    (root / "inner").mkdir()
    (root / "inner/file").write_text("x")
    os.symlink("inner", root / "inside")
    assert Path(mount(manager, obj, subPath="inside/file").source).read_text() == "x"


def test_a_link_that_is_put_there_after_the_check_is_refused(tmp_path: Path) -> None:
    volume, secret = tmp_path / "volume", tmp_path / "secret"
    (volume / "a/b").mkdir(parents=True)
    (secret / "b").mkdir(parents=True)
    path = sub_paths.resolve(str(volume), "a/b", "v")
    (volume / "a").rename(volume / "moved")
    os.symlink(secret, volume / "a")
    with pytest.raises(ConfigError, match="became a link"):
        sub_paths.open_inside(str(volume), path)


def test_an_open_part_stays_what_was_checked(tmp_path: Path) -> None:
    volume, secret = tmp_path / "volume", tmp_path / "secret"
    for folder in (volume / "a", secret):
        folder.mkdir(parents=True)
        (folder / "name").write_text(folder.name)
    descriptor = sub_paths.open_inside(str(volume), sub_paths.resolve(str(volume), "a", "v"))
    try:
        (volume / "a").rename(volume / "moved")
        os.symlink(secret, volume / "a")
        assert Path(f"/proc/self/fd/{descriptor}/name").read_text() == "a"
    finally:
        os.close(descriptor)


@needs_root
def test_an_empty_dir_in_memory_has_the_least_of_its_limits(
    manager: VolumeManager, tmp_path: Path
) -> None:
    limits = [{"name": "c", "resources": {"limits": {"memory": "4Mi"}}}]
    small = pod({"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, uid="a")
    by_pod = pod({"name": "v", "emptyDir": {"medium": "Memory"}}, uid="b", containers=limits)
    for obj, size in ((small, 1 << 20), (by_pod, 4 << 20)):
        set_up(manager, obj)
        found = os.statvfs(mount(manager, obj).source)
        assert found.f_blocks * found.f_frsize == size
        with pytest.raises(OSError, match="No space left"):
            Path(mount(manager, obj).source, "x").write_bytes(b"x" * (size + 1))


def test_what_an_earlier_kubelet_has_set_up_is_known_and_taken_down(tmp_path: Path) -> None:
    obj = pod({"name": "v", "emptyDir": {"medium": "Memory"}})
    set_up(fresh(tmp_path), obj)
    source = Path(mount(fresh(tmp_path), obj).source)
    (source / "kept").write_text("x")
    set_up(fresh(tmp_path), obj)
    assert (source / "kept").read_text() == "x"
    asyncio.run(fresh(tmp_path).tear_down("u"))
    assert not source.exists()
    assert not mounting.below(str(tmp_path))


@needs_root
def test_the_files_of_a_volume_belong_to_the_group_and_links_are_not_followed(
    tmp_path: Path,
) -> None:
    root, outside = tmp_path / "v", tmp_path / "outside"
    (root / "d").mkdir(parents=True)
    (root / "d/f").write_text("x")
    (root / "d/f").chmod(0o600)
    outside.write_text("x")
    outside.chmod(0o600)
    os.symlink(outside, root / "link")
    ownership.give(str(root), 4321, "Always")
    file, folder = os.stat(root / "d/f"), os.stat(root / "d")
    assert (file.st_gid, oct(file.st_mode & 0o7777)) == (4321, "0o660")
    assert (folder.st_gid, oct(folder.st_mode & 0o7770)) == (4321, "0o2770")
    assert (os.stat(outside).st_gid, outside.stat().st_mode & 0o777) == (os.getgid(), 0o600)


@needs_root
def test_on_root_mismatch_leaves_a_volume_that_is_owned_already(tmp_path: Path) -> None:
    root = tmp_path / "v"
    root.mkdir()
    ownership.give(str(root), 4321, "OnRootMismatch")
    (root / "new").write_text("x")
    os.chown(root / "new", -1, 0)
    ownership.give(str(root), 4321, "OnRootMismatch")
    assert os.stat(root / "new").st_gid == 0
    ownership.give(str(root), 4321, "Always")
    assert os.stat(root / "new").st_gid == 4321


def test_host_paths_must_be_of_their_kind(manager: VolumeManager, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, kind, problem in (
        ("file", "Directory", "not a directory"),
        ("file", "Socket", "not a socket"),
        ("file", "BlockDevice", "not a block device"),
        ("none", "", "does not exist"),
    ):
        volume = {"name": "v", "hostPath": {"path": str(tmp_path / name), "type": kind}}
        with pytest.raises(ConfigError, match=problem):
            set_up(manager, pod(volume, uid=name + kind))
    made = {"name": "v", "hostPath": {"path": str(tmp_path / "d"), "type": "DirectoryOrCreate"}}
    set_up(manager, pod(made))
    assert (tmp_path / "d").is_dir()


def test_a_volume_of_an_unknown_kind_says_so(manager: VolumeManager) -> None:
    with pytest.raises(ConfigError, match="cephfs not supported"):
        set_up(manager, pod({"name": "v", "cephfs": {"monitors": ["m"]}}))


@pytest.mark.parametrize("handle", ["../x", "a/b", "..", "", "a..b", "/etc"])
def test_handles_of_volumes_cannot_name_other_folders(tmp_path: Path, handle: str) -> None:
    with pytest.raises(ConfigError, match="is not one of"):
        LocalStore(str(tmp_path)).remove(handle)


def test_a_local_volume_without_loop_devices_is_a_folder(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    store.make("pvc-1", 1 << 20, block=False, limited=False)
    (tmp_path / "local-volumes/pvc-1/mount/x").write_text("x")
    assert store.grow("pvc-1", 2 << 20, block=False) is None
    assert store.held() == {"pvc-1"}
    store.remove("pvc-1")
    assert store.held() == set()


@needs_loop
def test_a_local_volume_is_a_file_system_of_its_size_that_grows(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    try:
        store.make("pvc-1", 8 << 20, block=False, limited=True)
        place = Path(store.mount_point("pvc-1", block=False))
        assert list(place.iterdir()) == []
        with pytest.raises(OSError, match="No space left"):
            (place / "x").write_bytes(b"x" * (8 << 20))
        (place / "x").write_bytes(b"kept")
        if mounting.can_grow_mounted():
            store.grow("pvc-1", 32 << 20, block=False)
        else:
            with pytest.raises(OSError, match="cannot grow"):
                store.grow("pvc-1", 32 << 20, block=False)
            store.leave("pvc-1")
            store.make("pvc-1", 32 << 20, block=False, limited=True)
        (place / "y").write_bytes(b"y" * (16 << 20))
        assert (place / "x").read_bytes() == b"kept"
    finally:
        store.remove("pvc-1")
    assert not mounting.below(str(tmp_path))


@needs_loop
def test_a_block_device_shows_its_file_until_the_end_of_the_node(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    store.make("pvc-1", 8 << 20, block=True, limited=True)
    device = os.path.realpath(store.mount_point("pvc-1", block=True))
    with open(device, "r+b") as file:
        file.write(b"hello")
    store.make("pvc-1", 8 << 20, block=True, limited=True)
    assert os.path.realpath(store.mount_point("pvc-1", block=True)) == device
    detach_all(str(tmp_path))
    image = store.path("pvc-1", "image")
    assert not mounting.loop_devices(image)
    assert Path(image).read_bytes()[:5] == b"hello"
    store.remove("pvc-1")


def test_no_mount_of_a_pod_is_walked_into_when_its_folder_is_removed(
    manager: VolumeManager, tmp_path: Path
) -> None:
    """What a volume's content is worth: a mount that nobody knows of stops the removal."""
    if os.geteuid() != 0:
        pytest.skip("mounts need root")
    place, data = tmp_path / "pods/u/volumes/x", tmp_path / "data"
    place.mkdir(parents=True)
    data.mkdir()
    mounting.bind(str(data), str(place))
    try:
        with pytest.raises(OSError, match="still mounted"):
            asyncio.run(manager.tear_down("u"))
    finally:
        mounting.unmount(str(place))
    assert str(place) not in [point for point, _ in host_mounts.mounts()]
