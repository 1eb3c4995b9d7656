"""What containers of the process runtime may do, and what those of one pod share."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cluster.kubelet.runtimes.base import (
    Container,
    ContainerSpec,
    PodSandbox,
    Resources,
    RuntimeFailure,
    Seccomp,
)
from cluster.kubelet.runtimes.helpers import capabilities, seccomp
from cluster.kubelet.runtimes.process import ProcessRuntime
from cluster.kubelet.runtimes.reap import reap

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="own file systems need root")


class Box:
    """A runtime, and containers of one pod in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = ProcessRuntime(str(folder))

    async def start(self, name: str, script: str, **changes: Any) -> ContainerSpec:
        sandbox = changes.pop("sandbox", PodSandbox("uid-1"))
        log = str(self.folder / "logs" / f"{uuid.uuid4().hex}.log")
        values = {"env": {"PATH": os.environ["PATH"]}, "log_path": log, "sandbox": sandbox}
        wanted = ContainerSpec(
            "uid-1", name, 0, uuid.uuid4().hex, ["bash", "-c", script], **values | changes
        )
        await self.runtime.run_pod(sandbox)
        await self.runtime.run(wanted)
        return wanted

    async def output(self, script: str, **changes: Any) -> list[str]:
        wanted = await self.start("main", script, **changes)
        assert await self.runtime.wait(wanted.container_id, 60)
        return self.log(wanted)

    def log(self, wanted: ContainerSpec) -> list[str]:
        lines = Path(wanted.log_path).read_text().splitlines()
        return [line.split(" ", 3)[3] for line in lines]

    async def first_line(self, wanted: ContainerSpec) -> str:
        while not (os.path.exists(wanted.log_path) and self.log(wanted)):
            await asyncio.sleep(0.01)
        return self.log(wanted)[0]

    def all(self) -> list[Container]:
        return self.runtime.containers("uid-1")


Test = Callable[[Box], Coroutine[Any, Any, None]]


@pytest.fixture
def boxed(tmp_path: Path) -> Any:
    def run(test: Test) -> None:
        async def whole() -> None:
            box = Box(tmp_path / "node")
            await box.runtime.start(lambda _uid: None)
            if box.runtime.isolation != "root":
                pytest.skip("this machine gives containers no file system of their own")
            try:
                await asyncio.wait_for(test(box), 120)
            finally:
                await box.runtime.stop()

        asyncio.run(whole())

    yield run
    reap(str(tmp_path / "node"))


CAPABILITIES = "grep -E '^Cap(Bnd|Eff)' /proc/self/status | cut -f2"


def mask(names: Any) -> str:
    return f"{sum(1 << capabilities.NAMES.index(name) for name in names):016x}"


def test_what_is_added_and_dropped_of_the_usual_capabilities() -> None:
    def kept(add: Any = (), drop: Any = (), privileged: bool = False) -> frozenset[str]:
        return capabilities.kept(add, drop, privileged=privileged)

    assert kept() == capabilities.DEFAULT
    assert kept(["CAP_SYS_TIME"], ["kill"]) == capabilities.DEFAULT - {"KILL"} | {"SYS_TIME"}
    assert kept(["NET_BIND_SERVICE"], ["ALL"]) == {"NET_BIND_SERVICE"}
    assert kept(["ALL"], ["CHOWN"]) == set(capabilities.NAMES) - {"CHOWN"}
    assert kept(drop=["ALL"], privileged=True) == set(capabilities.NAMES)


@needs_root
def test_a_container_has_the_usual_capabilities_and_what_it_asks_for(boxed: Any) -> None:
    async def test(box: Box) -> None:
        assert await box.output(CAPABILITIES) == [mask(capabilities.DEFAULT)] * 2
        few = await box.output(CAPABILITIES, add_capabilities=["KILL"], drop_capabilities=["ALL"])
        assert few == [mask(["KILL"])] * 2
        nobody = await box.output(CAPABILITIES, uid=65534, gid=65534)
        assert nobody == ["0" * 16, mask(capabilities.DEFAULT)]

    boxed(test)


@needs_root
def test_a_command_in_a_container_may_do_no_more_than_the_container(boxed: Any) -> None:
    async def test(box: Box) -> None:
        wanted = await box.start("main", "sleep 1000", drop_capabilities=["ALL"])
        command = ["bash", "-c", CAPABILITIES]
        found = await box.runtime.exec(
            wanted.container_id, command, timeout_s=60, output_size_bytes_max=1000
        )
        assert found.output.split() == [b"0" * 16] * 2

    boxed(test)


@needs_root
def test_the_default_seccomp_profile_refuses_what_reaches_beyond_a_container(boxed: Any) -> None:
    script = """
unshare -m true 2>/dev/null && echo unshared
unshare -m true 2>&1 | grep -o 'not permitted'
python3 -c 'import threading; threading.Thread(target=print, args=("thread",)).start()'
"""

    async def test(box: Box) -> None:
        able = {"add_capabilities": ["SYS_PTRACE"], "seccomp": Seccomp("RuntimeDefault")}
        assert await box.output(script, **able) == ["not permitted", "thread"]
        able = {"add_capabilities": ["SYS_ADMIN"], "seccomp": Seccomp("RuntimeDefault")}
        assert (await box.output(script, **able))[0] == "unshared"
        user = {"uid": 65534, "gid": 65534, "no_new_privileges": True}
        found = await box.output(script, seccomp=Seccomp("RuntimeDefault"), **user)
        assert found == ["not permitted", "thread"]
        modes = await box.output("grep Seccomp: /proc/self/status", seccomp=Seccomp())
        assert modes == ["Seccomp:\t0"]

    boxed(test)


def test_the_filter_has_no_jump_beyond_its_end() -> None:
    for machine in ("x86_64", "aarch64"):
        program = seccomp.default_filter((), machine)
        for at, (_, yes, no, _) in enumerate(program):
            assert at + max(yes, no) + 1 <= len(program)
    with pytest.raises(seccomp.Unsupported, match="sparc"):
        seccomp.default_filter((), "sparc")


@needs_root
def test_what_cannot_be_given_is_refused(boxed: Any) -> None:
    async def test(box: Box) -> None:
        with pytest.raises(RuntimeFailure, match="Localhost"):
            await box.start("main", "true", seccomp=Seccomp("Localhost", "a.json"))
        net = PodSandbox("uid-1", sysctls={"net.ipv4.tcp_syncookies": "1"})
        with pytest.raises(RuntimeFailure, match="network namespace"):
            await box.start("main", "true", sandbox=net)

    boxed(test)


@needs_root
def test_groups_are_given_to_root_too_and_the_memory_killer_is_told(boxed: Any) -> None:
    async def test(box: Box) -> None:
        script = "id -G; cat /proc/self/oom_score_adj"
        found = await box.output(script, groups=[1234, 77], resources=Resources(oom_score_adj=900))
        assert found == ["0 77 1234", "900"]

    boxed(test)


IPC = "readlink /proc/self/ns/ipc; sleep 1000"


@needs_root
def test_containers_of_a_pod_share_what_they_communicate_by_and_its_sysctls(boxed: Any) -> None:
    async def test(box: Box) -> None:
        sandbox = PodSandbox("uid-1", sysctls={"kernel.shm_rmid_forced": "1"})
        one = await box.start("one", IPC, sandbox=sandbox)
        mine = await box.first_line(one)
        two = await box.start("two", IPC, sandbox=sandbox)
        assert await box.first_line(two) == mine
        assert mine != os.readlink("/proc/self/ns/ipc")
        value = await box.output("cat /proc/sys/kernel/shm_rmid_forced", sandbox=sandbox)
        assert value == ["1"]
        host = await box.start("host", IPC, sandbox=PodSandbox("uid-1", host_ipc=True))
        assert await box.first_line(host) == os.readlink("/proc/self/ns/ipc")

    boxed(test)


@needs_root
def test_a_pod_with_the_hosts_processes_sees_them(boxed: Any) -> None:
    async def test(box: Box) -> None:
        host = PodSandbox("uid-1", host_pid=True)
        assert await box.output(f"test -d /proc/{os.getpid()} && echo seen", sandbox=host) == [
            "seen"
        ]
        wanted = await box.start("rest", "sleep 1000 & echo $!; wait", sandbox=host)
        child = int(await box.first_line(wanted))
        assert Path(f"/proc/{child}").exists()
        await box.runtime.end(wanted.container_id, 0)
        while Path(f"/proc/{child}").exists():
            await asyncio.sleep(0.01)

    boxed(test)


def seen(pattern: str) -> str:
    """A command that looks for the command line of another process."""
    return f"grep -aqs '{pattern}' /proc/[0-9]*/cmdline"


@needs_root
def test_containers_that_share_processes_see_one_another_and_outlive_each_other(boxed: Any) -> None:
    async def test(box: Box) -> None:
        shared = PodSandbox("uid-1", share_processes=True)
        one = await box.start("one", "exec sleep 12345", sandbox=shared)
        looks = f"until {seen('1234[5]')}; do sleep 0.05; done; echo; exec sleep 23456"
        two = await box.start("two", looks, sandbox=shared)
        await box.first_line(two)
        assert sorted(each.name for each in box.all()) == ["one", "two"]
        await box.runtime.end(one.container_id, 0)
        assert [each.running for each in box.all()] == [False, True]
        three = await box.start("three", f"{seen('2345[6]')} && echo; sleep 1000", sandbox=shared)
        await box.first_line(three)
        for each in (two, three):
            await box.runtime.end(each.container_id, 0)
        await box.runtime.remove_pod("uid-1")
        assert not list((box.folder / "pods" / "uid-1" / "containers").glob("*/*"))

    boxed(test)
