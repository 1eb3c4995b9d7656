"""The process runtime on images: a root of its own, and nothing of the host in sight."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.kubelet.images import packing, settings
from cluster.kubelet.images.local import LocalImages
from cluster.kubelet.images.names import parse
from cluster.kubelet.images.roots import InUse
from cluster.kubelet.images.store import ImageStore
from cluster.kubelet.runtimes.base import ContainerSpec, Mount, RuntimeFailure
from cluster.kubelet.runtimes.interactive import Wanted
from cluster.kubelet.runtimes.process import ProcessRuntime
from cluster.kubelet.runtimes.reap import reap

BUSYBOX = "/bin/busybox"
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="own file systems need root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="busybox-static is not installed"),
]
IMAGE = "example.com/busybox:1"
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:1001:\nextra:x:2000:app\n"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> LocalImages:
    """A store with an image from Debian's busybox, by two names with configs of their own."""
    top = tmp_path_factory.mktemp("images")
    root = top / "root"
    for folder in ("bin", "etc", "tmp", "home/app", "data"):
        (root / folder).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    for name in ("sh", "cat", "ls", "id", "hostname", "sleep", "env", "pwd", "ps", "test", "touch",
                 "mount", "stat", "readlink"):  # fmt: skip
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "group").write_text(GROUP)
    store = ImageStore(str(top / "store"))
    packing.from_root(store, str(root), "amd64", parse(IMAGE))
    run = {"Entrypoint": ["sh", "-c"], "Cmd": ["id -u; id -G; pwd; echo $HOME $A"], "User": "app",
           "Env": ["A=image", "PATH=/bin"], "WorkingDir": "/home"}  # fmt: skip
    packing.from_root(store, str(root), "amd64", parse("configured:1"), run)
    return LocalImages(store, settings.parse({}))


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / "node")
    reap(str(tmp_path / "node"))


def spec(data_dir: str, *command: str, **changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {
        "pod_uid": "uid-1",
        "name": "main",
        "attempt": 0,
        "container_id": uuid.uuid4().hex,
        "command": command,
        "env": {},
        "log_path": os.path.join(data_dir, "logs", "0.log"),
        "hostname": "pod-1",
        "image": IMAGE,
    }
    return ContainerSpec(**values | changes)


async def started(data_dir: str, images: LocalImages) -> ProcessRuntime:
    runtime = ProcessRuntime(data_dir, images=images)
    await runtime.start(lambda _uid: None)
    assert runtime.isolation == "root"
    return runtime


def lines_of(data_dir: str, images: LocalImages, *command: str, **changes: Any) -> list[str]:
    """What a container prints until it ends."""
    wanted = spec(data_dir, *command, **changes)

    async def run() -> None:
        runtime = await started(data_dir, images)
        await runtime.run(wanted)
        assert await runtime.wait(wanted.container_id, 60)
        await runtime.stop()

    asyncio.run(run())
    return log_of(wanted)


def test_a_container_sees_its_image_and_nothing_of_the_host(
    images: LocalImages, data_dir: str
) -> None:
    script = "ls /; hostname; echo $$; ls /proc | grep -c '^[0-9]*$'; ls -a / | grep raykube"
    script = script.replace("grep", "busybox grep")
    found = lines_of(data_dir, images, "sh", "-c", script + "; busybox grep -c / /proc/mounts")
    assert found[:-4][:7] == ["bin", "data", "dev", "etc", "home", "proc", "sys"]
    assert found[7:9] == ["tmp", "pod-1"]
    assert int(found[9]) == 2, "the process after its supervisor in a pid namespace of its own"
    assert int(found[10]) <= 5
    assert len(found) == 12


def test_entry_point_user_folder_and_environment_are_the_images(
    images: LocalImages, data_dir: str
) -> None:
    found = lines_of(data_dir, images, image="configured:1")
    assert found == ["1000", "1001 2000", "/home", "/home/app image"]


def test_what_the_pod_says_wins_over_the_image(images: LocalImages, data_dir: str) -> None:
    found = lines_of(
        data_dir, images, image="configured:1", args=["id -u; id -g; id -G; pwd; echo $HOME $A"],
        uid=77, groups=[5], env={"A": "pod"}, working_dir="/tmp/made",
    )  # fmt: skip
    assert found == ["77", "0", "0 5", "/tmp/made", "/ pod"]


def test_unknown_users_and_missing_commands_are_told(images: LocalImages, data_dir: str) -> None:
    async def fail(**changes: Any) -> str:
        runtime = await started(data_dir, images)
        with pytest.raises(RuntimeFailure) as failure:
            await runtime.run(spec(data_dir, **changes))
        await runtime.stop()
        return failure.value.message

    assert asyncio.run(fail()) == "no command specified"
    root = Path(images.store.folder).parent / "root"
    packing.from_root(images.store, str(root), "amd64", parse("nobody:1"), {"User": "ghost"})
    text = asyncio.run(fail(image="nobody:1", command=["id"]))
    assert text.endswith("unable to find user ghost: no matching entries in passwd file")


def test_what_tells_about_the_machine_is_masked(images: LocalImages, data_dir: str) -> None:
    script = """
    cat /proc/kcore /proc/keys /proc/timer_list | busybox wc -c
    ls /sys/firmware | busybox wc -l
    for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /sys/kernel/mm/ksm/run \
        /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cgroup.procs; do
      test ! -e $f || (echo 0 > $f) 2>/dev/null && test -e $f && echo "wrote $f"
    done
    busybox mknod /tmp/disk b 8 0 && (cat /tmp/disk) && echo read a disk
    echo done
    """
    found = lines_of(data_dir, images, "sh", "-c", script)
    assert [line for line in found if not line.startswith(("cat: ", "sh: "))] == ["0", "0", "done"]


def test_the_image_is_not_changed_by_containers(images: LocalImages, data_dir: str) -> None:
    lines_of(data_dir, images, "sh", "-c", "echo x > /etc/passwd; touch /data/new")
    assert lines_of(data_dir, images, "cat", "/etc/passwd", attempt=1)[0] == PASSWD.split("\n")[0]
    found = lines_of(data_dir, images, "sh", "-c", "touch /x || echo no", read_only_root=True)
    assert "no" in found


def test_volumes_are_mounted_at_their_places(
    images: LocalImages, data_dir: str, tmp_path: Path
) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "f").write_text("from outside\n")
    mounts = [
        Mount(str(tmp_path / "v"), "/data"),
        Mount(str(tmp_path / "v" / "f"), "/etc/new/file", read_only=True),
    ]
    script = "cat /etc/new/file; echo y > /data/y; (echo z > /etc/new/file) || echo read only"
    found = lines_of(data_dir, images, "sh", "-c", script, mounts=mounts)
    assert {"from outside", "read only"} <= set(found)
    assert (tmp_path / "v" / "y").read_text() == "y\n"


HOSTILE_LINKS = {
    "proc": "/data", "sys": "../../../../../..", "dev": "/", "etc": "/proc/1/root/etc",
    "data": "/..", "lib": "/.raykube-old-root/tmp",
}  # fmt: skip


def test_links_of_an_image_do_not_lead_mounts_out_of_it(
    images: LocalImages, data_dir: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "sh")
    for name, target in HOSTILE_LINKS.items():
        (root / name).symlink_to(target)
    packing.from_root(images.store, str(root), "amd64", parse("hostile:1"))
    (tmp_path / "v").write_text("x")
    before = {path: os.stat(path) for path in ("/etc/hosts", "/etc", "/tmp", "/")}
    mounts = [Mount(str(tmp_path / "v"), path) for path in ("/etc/hosts", "/data/a", "/lib/b/c")]

    async def run() -> None:
        runtime = await started(data_dir, images)
        wanted = spec(data_dir, "sh", "-c", "echo in", image="hostile:1", mounts=mounts)
        with contextlib.suppress(RuntimeFailure):  # it may be refused
            await runtime.run(wanted)
            await runtime.wait(wanted.container_id, 60)
        await runtime.stop()

    asyncio.run(run())
    for path, old in before.items():
        new = os.stat(path)
        assert (new.st_ino, stat.S_IFMT(new.st_mode)) == (old.st_ino, stat.S_IFMT(old.st_mode))
    assert not any(Path(path).exists() for path in ("/a", "/data/a", "/tmp/b", "/lib/b"))
    assert data_dir not in Path("/proc/self/mountinfo").read_text()


def test_exec_enters_the_image_as_its_user(images: LocalImages, data_dir: str) -> None:
    async def run() -> None:
        runtime = await started(data_dir, images)
        wanted = spec(data_dir, image="configured:1", args=["exec sleep 1000"])
        await runtime.run(wanted)
        found = await runtime.exec(
            wanted.container_id, ["sh", "-c", "id -u; hostname; ls /; echo $HOME"],
            timeout_s=60, output_size_bytes_max=4096,
        )  # fmt: skip
        assert found.output.split()[:2] == [b"1000", b"pod-1"]
        assert b"home" in found.output
        assert b"boot" not in found.output
        assert found.output.split()[-1] == b"/home/app"
        command = await runtime.open(wanted.container_id, ["id", "-u"], Wanted(stdout=True))
        assert command.stdout is not None
        assert await command.stdout.read() == b"1000\n"
        await command.wait()
        await command.close()
        await runtime.end(wanted.container_id, 0)
        await runtime.stop()

    asyncio.run(run())


def test_an_image_is_kept_while_a_container_runs_on_it_whoever_asks(
    images: LocalImages, data_dir: str
) -> None:
    async def run() -> None:
        runtime = await started(data_dir, images)
        wanted = spec(data_dir, "sleep", "1000")
        container = await runtime.run(wanted)
        image = await images.find(IMAGE)
        assert image is not None
        assert container.image_id == image.reference
        await runtime.stop()  # the kubelet is gone, the container goes on
        assert image.id in await images.in_use()
        with pytest.raises(InUse):
            await images.remove(image.id)
        again = await started(data_dir, images)
        assert again.containers("uid-1")[0].running
        await again.end(wanted.container_id, 0)
        with pytest.raises(InUse):
            await images.remove(image.id)  # it may be started again
        await again.remove_pod("uid-1")
        assert image.id not in await images.in_use()
        await again.stop()

    asyncio.run(run())


def test_other_images_run_on_the_hosts_files(images: LocalImages, data_dir: str) -> None:
    found = lines_of(data_dir, images, "sh", "-c", "ls /; hostname", image="not/here:1")
    assert "boot" in found
    assert socket.gethostname() not in found


def test_without_root_a_user_namespace_gives_the_same(
    images: LocalImages, data_dir: str, tmp_path: Path
) -> None:
    (tmp_path / "v").mkdir()
    mounts = [Mount(str(tmp_path / "v"), "/data")]
    script = "id -u; id -g; hostname; pwd; echo $HOME; ls -a /; cat /proc/kcore | busybox wc -c; "
    script += "echo 1 > /proc/sys/kernel/core_pattern || echo read only; touch /data/made; "
    script += "busybox mknod /tmp/d b 8 0 || echo no devices; exec sleep 1000"

    async def run() -> list[str]:
        runtime = ProcessRuntime(data_dir, images=images)
        await runtime.start(lambda _uid: None)
        runtime.isolation = "plain"
        runtime._own_users = await runtime._works("user")
        if not runtime._own_users:
            pytest.skip("no user namespaces here")
        wanted = spec(data_dir, image="configured:1", args=[script], mounts=mounts, env={"A": "1"})
        container = await runtime.run(wanted)
        assert container.image_id
        while not (tmp_path / "v" / "made").exists() or "no devices" not in log_of(wanted):
            await asyncio.sleep(0.02)
        found = await runtime.exec(
            wanted.container_id, ["sh", "-c", "id -u; hostname; echo $HOME"],
            timeout_s=60, output_size_bytes_max=4096,
        )  # fmt: skip
        assert found.output.split() == [b"1000", b"pod-1", b"/home/app"]
        again = ProcessRuntime(data_dir, images=images)  # as after a restart of the kubelet
        await runtime.stop()
        await again.start(lambda _uid: None)
        assert again.containers("uid-1")[0].running
        await again.end(wanted.container_id, 0)
        await again.remove_pod("uid-1")
        await again.stop()
        return log_of(wanted)

    found = asyncio.run(run())
    assert found[:5] == ["1000", "1001", "pod-1", "/home", "/home/app"]
    assert "boot" not in found
    assert {"bin", "data", "0", "read only"} <= set(found)
    assert (tmp_path / "v" / "made").stat().st_uid == os.geteuid()


def log_of(wanted: ContainerSpec) -> list[str]:
    log = Path(wanted.log_path).read_text().splitlines()
    return [line.split(" ", 3)[3] for line in log]
