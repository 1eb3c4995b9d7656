"""The runtimes `cri` and `docker` on a real containerd and dockerd, without a cluster round them.

What both promise is one test for both.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from containerd import IMAGE, PAUSE, Containerd, needs_containerd
from dockerd import Dockerd, needs_dockerd
from image_archives import BUSYBOX
from registries import DOCKER_REGISTRY, PASSWORD, USER, docker_registry

from actors.seams import system_seams
from cluster.kubelet.images import packing
from cluster.kubelet.images.names import parse
from cluster.kubelet.images.store import ImageStore
from cluster.kubelet.node_object import architecture
from cluster.kubelet.runtimes.base import (
    Container,
    ContainerSpec,
    PodSandbox,
    Resources,
    RuntimeFailure,
    SandboxFailure,
    Seccomp,
)
from cluster.kubelet.runtimes.cri import protocol_pb2 as pb
from cluster.kubelet.runtimes.cri.client import CriClient
from cluster.kubelet.runtimes.cri.runtime import CriRuntime
from cluster.kubelet.runtimes.docker.runtime import DockerRuntime
from cluster.kubelet.runtimes.images import Credentials, PullFailed
from cluster.kubelet.runtimes.interactive import Wanted
from cluster.kubelet.runtimes.reap import power_off, reap

PATIENCE_S = 60.0


Manager = Containerd | Dockerd


@pytest.fixture(
    params=[
        pytest.param("containerd", marks=needs_containerd),
        pytest.param("dockerd", marks=needs_dockerd),
    ]
)
def manager(request: pytest.FixtureRequest) -> Manager:
    found: Manager = request.getfixturevalue(request.param)
    return found


class Node:
    """A runtime on a folder of its own; `changed` collects what it tells."""

    def __init__(self, manager: Manager, folder: Path, **more: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.runtime: CriRuntime | DockerRuntime
        if isinstance(manager, Containerd):
            self.runtime = CriRuntime(manager.endpoint, str(folder), system_seams(), **more)
        else:
            more["sandbox_image"] = PAUSE
            self.runtime = DockerRuntime(manager.endpoint, str(folder), system_seams(), **more)
        self.changed: asyncio.Queue[str] = asyncio.Queue()

    def pod(self, **changes: Any) -> PodSandbox:
        uid = str(uuid.uuid4())
        logs = str(self.folder / "logs" / uid)
        values = {"uid": uid, "name": f"pod-{uid[:8]}", "hostname": "box", "log_folder": logs}
        return PodSandbox(**values | changes)

    def spec(self, pod: PodSandbox, *command: str, **changes: Any) -> ContainerSpec:
        values: dict[str, Any] = {
            "pod_uid": pod.uid,
            "name": "main",
            "attempt": 0,
            "container_id": "of-the-kubelet",
            "command": command,
            "env": {"COLOUR": "blue"},
            "log_path": os.path.join(pod.log_folder, "main", "0.log"),
            "image": IMAGE,
            "sandbox": pod,
            "hostname": pod.hostname,
        }
        return ContainerSpec(**values | changes)

    async def run(self, *command: str, **changes: Any) -> Container:
        pod = self.pod()
        await self.runtime.run_pod(pod)
        return await self.runtime.run(self.spec(pod, *command, **changes))

    async def ended(self, started: Container) -> Container:
        return await self.until(started, lambda container: not container.running)

    async def until(self, started: Container, holds: Callable[[Container], bool]) -> Container:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = self.runtime.containers(started.pod_uid)
                mine = next(c for c in found if c.container_id == started.container_id)
                if holds(mine):
                    return mine
                await self.changed.get()


@asynccontextmanager
async def node(manager: Manager, folder: Path, **more: Any) -> AsyncIterator[Node]:
    made = Node(manager, folder, **more)
    await made.runtime.start(made.changed.put_nowait)
    try:
        yield made
    finally:
        await made.runtime.stop()


def on_node(manager: Manager, folder: Path, work: Callable[[Node], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with node(manager, folder / "node") as made:
            await work(made)

    try:
        asyncio.run(all_of_it())
    finally:
        reap(str(folder / "node"))


def log_of(container: Container) -> str:
    with open(container.log_path) as file:
        return "".join(line.split(" ", 3)[3] for line in file)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.05)


def test_a_container_runs_and_tells_how_it_ended(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        started = await node.run("sh", "-c", "echo $COLOUR $HOSTNAME; echo oh >&2; exit 3")
        assert started.container_id != "of-the-kubelet"
        assert started.image_id.startswith("sha256:")
        ended = await node.ended(started)
        assert (ended.exit_code, ended.reason, ended.signal) == (3, "Error", 0)
        assert ended.finished_at_s > ended.started_at_s - 1 > 1.7e9  # by two clocks of the manager
        await eventually(lambda: sorted(log_of(ended).splitlines()) == ["blue box", "oh"])

    on_node(manager, tmp_path, work)


def test_a_container_is_asked_to_end_and_then_made_to(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        polite = "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"
        asked = await node.run("sh", "-c", polite)
        deaf = await node.run("sleep", "1000")
        await eventually(lambda: log_of(asked) == "up\n")
        await asyncio.gather(
            node.runtime.end(asked.container_id, 50.0), node.runtime.end(deaf.container_id, 1.0)
        )
        assert (await node.ended(asked)).exit_code == 5
        killed = await node.ended(deaf)
        assert (killed.exit_code, killed.signal) == (137, signal.SIGKILL)

    on_node(manager, tmp_path, work)


def test_a_shorter_grace_period_counts_from_when_it_is_known(
    manager: Manager, tmp_path: Path
) -> None:
    async def work(node: Node) -> None:
        deaf = await node.run("sleep", "1000")
        first = asyncio.create_task(node.runtime.end(deaf.container_id, 100_000.0))
        await asyncio.sleep(0)
        first.cancel()
        await node.runtime.end(deaf.container_id, 0.0)
        assert (await node.ended(deaf)).exit_code == 137

    on_node(manager, tmp_path, work)


def test_commands_run_in_a_container_with_bounds(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        container_id = (await node.run("sleep", "1000")).container_id

        async def exec_(*command: str, timeout_s: float = 60.0) -> Any:
            return await node.runtime.exec(
                container_id, command, timeout_s=timeout_s, output_size_bytes_max=8
            )

        done = await exec_("sh", "-c", "echo out; echo err >&2; exit 4")
        assert (done.exit_code, sorted(done.output.split())) == (4, [b"err", b"out"])
        assert len((await exec_("head", "-c", "100000", "/dev/zero")).output) == 8
        assert (await exec_("sleep", "1000", timeout_s=1.0)).timed_out
        assert (await exec_("/no/such/program")).exit_code in (126, 127)

    on_node(manager, tmp_path, work)


def test_streams_of_a_command_are_carried_both_ways(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        container_id = (await node.run("sleep", "1000")).container_id
        everything = Wanted(stdin=True, stdout=True, stderr=True)
        running = await node.runtime.open(
            container_id, ["sh", "-c", "wc -c; echo e >&2; exit 9"], everything
        )
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        for _ in range(64):
            await running.stdin.write(bytes(32 * 1024))
        running.stdin.close()
        said = await asyncio.gather(running.stdout.read(), running.stderr.read(), running.wait())
        assert said == [b"2097152\n", b"e\n", 9]
        await running.close()
        missing = await node.runtime.open(container_id, ["/no/such"], Wanted(stdout=True))
        if isinstance(node.runtime, CriRuntime):
            with pytest.raises(RuntimeFailure, match="no such file"):
                await missing.wait()
        else:  # Docker says why where the command would have spoken
            assert await missing.wait() in (126, 127)
        await missing.close()
        tty = Wanted(stdin=True, stdout=True, tty=True)
        script = "trap 'stty size; exit 6' WINCH; echo ready; while :; do sleep 0.05; done"
        terminal = await node.runtime.open(container_id, ["sh", "-c", script], tty)
        assert terminal.stdout is not None
        seen = b""
        while b"ready" not in seen:
            seen += await terminal.stdout.read()
        terminal.resize(77, 33)
        while data := await terminal.stdout.read():
            seen += data
        assert b"33 77" in seen
        assert await terminal.wait() == 6
        await terminal.close()

    on_node(manager, tmp_path, work)


def test_a_slow_reader_gets_all_that_a_command_has_said(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        container_id = (await node.run("sleep", "1000")).container_id
        talk = ["head", "-c", "1300000", "/dev/zero"]

        async def said() -> tuple[int, int]:
            running = await node.runtime.open(container_id, talk, Wanted(stdout=True))
            assert running.stdout is not None
            size = 0
            while data := await running.stdout.read():
                size += len(data)
                await asyncio.sleep(0.01)
            code = await running.wait()
            await running.close()
            return size, code

        for _ in range(4):
            assert await asyncio.gather(*(said() for _ in range(5))) == [(1_300_000, 0)] * 5

    on_node(manager, tmp_path, work)


def test_another_kubelet_finds_what_runs_and_what_has_ended(
    manager: Manager, tmp_path: Path
) -> None:
    async def work(first: Node) -> None:
        runs, ends = await first.run("sleep", "1000"), await first.run("sh", "-c", "exit 2")
        await first.ended(ends)
        async with node(manager, first.folder) as second:
            assert set(second.runtime.pod_uids()) == {runs.pod_uid, ends.pod_uid}
            assert second.runtime.containers(runs.pod_uid)[0] == runs
            assert second.runtime.containers(ends.pod_uid)[0].exit_code == 2
            await second.runtime.end(runs.container_id, 0.0)
            await second.runtime.remove_pod(runs.pod_uid)
            assert second.runtime.containers(runs.pod_uid) == []
        async with node(manager, tmp_path / "another") as other:
            assert other.runtime.pod_uids() == []  # they are not of that node

    on_node(manager, tmp_path, work)


def test_the_end_of_a_sandbox_ends_its_containers_and_the_next_one_is_new(
    manager: Manager, tmp_path: Path
) -> None:
    async def work(node: Node) -> None:
        pod, before = node.pod(), manager.running()
        await node.runtime.run_pod(pod)
        (sandbox,) = manager.running() - before
        started = await node.runtime.run(node.spec(pod, "sleep", "1000"))
        os.kill(manager.pid_of(sandbox), signal.SIGKILL)
        assert (await node.ended(started)).exit_code == 137
        await node.runtime.run_pod(pod)
        assert sandbox not in manager.running()
        assert len(manager.running() - before) == 1
        again = await node.runtime.run(node.spec(pod, "sleep", "1000", attempt=1))
        assert [c.attempt for c in node.runtime.containers(pod.uid)] == [0, 1]
        await node.runtime.end(again.container_id, 0.0)
        await node.runtime.remove_pod(pod.uid)
        assert sandbox not in manager.running()

    on_node(manager, tmp_path, work)


async def rotated(node: Node, path: str, until: str) -> None:
    """By the kubelet, which asks for it now and then, or by the copying of the log itself."""
    if isinstance(node.runtime, CriRuntime):
        await eventually(lambda: os.stat(path).st_size > 20_000)
        await node.runtime.rotate_logs()
    await eventually(lambda: os.path.exists(until))


def test_large_logs_are_rotated_while_the_container_writes(
    manager: Manager, tmp_path: Path
) -> None:
    async def work() -> None:
        folder = tmp_path / "node"
        more = {"log_size_bytes_max": 20_000, "log_files_max": 3}
        async with node(manager, folder, **more) as made:
            script = "i=0; while :; do i=$((i+1)); echo line $i; [ $((i % 99)) = 0 ] && sleep 0.1;"
            talker = await made.run("sh", "-c", f"{script} done")
            files = {talker.log_path, f"{talker.log_path}.1", f"{talker.log_path}.2"}
            for path in [*sorted(files)[1:], f"{talker.log_path}.2"]:
                await rotated(made, talker.log_path, path)
            there = set(Path(talker.log_path).parent.iterdir())
            assert {str(path) for path in there} <= files
            await made.runtime.end(talker.container_id, 0.0)
            with open(f"{talker.log_path}.2") as old, open(f"{talker.log_path}.1") as new:
                numbers = [int(line.split()[-1]) for line in [*old, *new]]
            assert numbers == list(range(numbers[0], numbers[-1] + 1))

    try:
        asyncio.run(work())
    finally:
        reap(str(tmp_path / "node"))


def test_usage_is_told_and_limits_are_changed(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        limits = Resources(cpu_request_milli=100, cpu_limit_milli=500, memory_limit_bytes=64 << 20)
        script = "while :; do :; done"
        busy = await node.run("sh", "-c", script, resources=limits)
        async with asyncio.timeout(PATIENCE_S):
            while (await node.runtime.usage())[busy.container_id].cpu_ns == 0:
                await asyncio.sleep(0.05)
        assert (await node.runtime.usage())[busy.container_id].working_set_bytes > 0
        await node.runtime.resize(busy.container_id, Resources(memory_limit_bytes=32 << 20))
        greedy = await node.run(
            "sh", "-c", "tail /dev/zero", resources=Resources(memory_limit_bytes=16 << 20)
        )
        ended = await node.ended(greedy)
        assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)

    on_node(manager, tmp_path, work)


def test_handlers_are_passed_on(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        known = "other" if isinstance(manager, Containerd) else "runc"
        await node.runtime.run_pod(node.pod(runtime_handler=known))
        with pytest.raises(SandboxFailure, match="none"):
            await node.runtime.run_pod(node.pod(runtime_handler="none"))

    on_node(manager, tmp_path, work)


def test_a_seccomp_profile_of_the_node_is_enforced(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        denied = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied]}
        file = node.folder / "seccomp" / "profiles" / "no-folders.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(profile))
        chosen = Seccomp("Localhost", "profiles/no-folders.json")
        refused = await node.run("mkdir", "/tmp/x", seccomp=chosen)
        assert (await node.ended(refused)).exit_code == 1
        missing = Seccomp("Localhost", "profiles/nothing.json")
        with pytest.raises(RuntimeFailure, match=r"nothing\.json"):
            await node.run("true", seccomp=missing)

    on_node(manager, tmp_path, work)


def test_images_are_found_listed_and_missed(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        images = node.runtime.images
        found = await images.find(IMAGE)
        assert found is not None
        assert IMAGE in found.tags
        assert found.size_bytes > 100_000
        assert found.id in {image.id for image in await images.list()}
        assert await images.find("raykube.test/nothing:1") is None
        started = await node.run("sleep", "1000")
        assert found.id in await images.in_use()
        (holder,) = [image for image in await images.list() if PAUSE in image.tags]
        assert holder.pinned  # what makes pods stays when room is made
        assert not found.pinned
        with pytest.raises(PullFailed, match=r"127\.0\.0\.1:9"):
            await images.pull("127.0.0.1:9/nothing:1", None)
        with pytest.raises(RuntimeFailure, match="is not here"):
            await node.run("true", image="raykube.test/nothing:1")
        assert started.running

    on_node(manager, tmp_path, work)


@pytest.mark.skipif(DOCKER_REGISTRY is None, reason="docker-registry is not installed")
def test_images_are_pulled_with_credentials_and_removed(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        images = node.runtime.images
        name = f"{registry.address}/team/box:1"
        with pytest.raises(
            PullFailed, match=r"(?i)unauthorized|no basic auth|authorization failed"
        ):
            await images.pull(name, None)
        pulled = await images.pull(name, Credentials(username=USER, password=PASSWORD))
        assert pulled.uid == 1000
        assert pulled.reference == f"{registry.address}/team/box@{digest}"
        started = await node.run("sh", "-c", "id -u; sleep 1000", image=name)
        await eventually(lambda: log_of(started) == "1000\n")
        await node.runtime.end(started.container_id, 0.0)
        await node.runtime.remove_pod(started.pod_uid)
        await images.remove(pulled.id)
        assert await images.find(name) is None

    store = ImageStore(str(tmp_path / "store"))
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    for applet in ("sh", "id", "sleep"):
        (root / "bin" / applet).symlink_to("busybox")
    config = {"User": "1000", "Env": ["PATH=/bin"]}
    packing.from_root(store, str(root), architecture(), parse("box:1"), config)
    with docker_registry(tmp_path / "registry", password=True) as registry:
        digest = registry.push(Path(store.folder), "team/box", "1")
        on_node(manager, tmp_path, work)


async def remove_behind_its_back(manager: Manager, container_id: str) -> None:
    if isinstance(manager, Dockerd):
        manager.remove(container_id)
        return
    client = CriClient(manager.endpoint)
    request = pb.RemoveContainerRequest(container_id=container_id)
    await client.runtime("RemoveContainer", request)
    await client.close()


def test_a_container_that_somebody_else_removed_has_ended(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        started = await node.run("sleep", "1000")
        await remove_behind_its_back(manager, started.container_id)
        ended = await node.ended(started)
        assert ended.exit_code == 137

    on_node(manager, tmp_path, work)


def test_what_a_node_ran_can_be_ended_without_a_kubelet(manager: Manager, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        before = manager.running()
        started = await node.run("sleep", "1000")
        mine = manager.running() - before
        assert len(mine) == 2  # the container and its sandbox
        assert await asyncio.to_thread(power_off, str(node.folder)) == 1
        assert (await node.ended(started)).exit_code == 137
        assert not mine & manager.running()
        await asyncio.to_thread(reap, str(node.folder))
        async with node_again(node) as again:
            assert again.runtime.pod_uids() == []

    def node_again(old: Node) -> Any:
        return node(manager, old.folder)

    on_node(manager, tmp_path, work)
