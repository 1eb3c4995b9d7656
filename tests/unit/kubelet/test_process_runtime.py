"""The process runtime with real processes: start, logs, exit codes, killing, adoption, reaping."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cluster.kubelet.runtimes import host_mounts, records
from cluster.kubelet.runtimes.base import Container, ContainerSpec, Mount, RuntimeFailure
from cluster.kubelet.runtimes.process import ProcessRuntime
from cluster.kubelet.runtimes.reap import power_off, reap

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="own file systems need root")


@pytest.fixture(params=["root", "plain"])
def isolation(request: pytest.FixtureRequest) -> str:
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("own file systems need root")
    return str(request.param)


@pytest.fixture
def data_dir(tmp_path: Path) -> Any:
    yield str(tmp_path / "node")
    reap(str(tmp_path / "node"))


def spec(data_dir: str, *command: str, **changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {
        "pod_uid": "uid-1",
        "name": "main",
        "attempt": 0,
        "container_id": uuid.uuid4().hex,
        "command": command,
        "env": {"PATH": os.environ["PATH"]},
        "log_path": os.path.join(data_dir, "logs", "0.log"),
        "hostname": "pod-1",
    }
    return ContainerSpec(**values | changes)


STARTED: list[ProcessRuntime] = []


async def runtime_at(data_dir: str, isolation: str) -> ProcessRuntime:
    """`in_test` stops it."""
    runtime = ProcessRuntime(data_dir)
    STARTED.append(runtime)
    await runtime.start(lambda _uid: None)
    assert isolation == "plain" or runtime.isolation == isolation
    runtime.isolation = isolation
    return runtime


async def run_to_end(runtime: ProcessRuntime, wanted: ContainerSpec) -> Container:
    await runtime.run(wanted)
    assert await runtime.wait(wanted.container_id, 10)
    return runtime.containers(wanted.pod_uid)[-1]


def log_lines(wanted: ContainerSpec) -> list[str]:
    return Path(wanted.log_path).read_text().splitlines()


async def eventually(check: Callable[[], bool]) -> None:
    for _ in range(1000):
        if check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not happen within 10 s")


def in_test(test: Coroutine[Any, Any, None], run: Any = asyncio.run) -> None:
    async def whole() -> None:
        try:
            await asyncio.wait_for(test, 60)
        finally:
            while STARTED:
                await STARTED.pop().stop()

    run(whole())


def test_exit_code_and_both_streams_are_recorded(data_dir: str, isolation: str) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, isolation)
        wanted = spec(data_dir, "sh", "-c", "echo out; echo err >&2; exit 3")
        ended = await run_to_end(runtime, wanted)
        assert (ended.running, ended.exit_code, ended.reason) == (False, 3, "Error")
        found = {tuple(line.split(" ", 3)[1:]) for line in log_lines(wanted)}
        assert found == {("stdout", "F", "out"), ("stderr", "F", "err")}

    in_test(test())


def test_an_unfinished_line_and_a_very_long_one_are_written_in_parts(data_dir: str) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, "plain")
        program = "print('x' * 40000); print('end', end='')"
        wanted = spec(data_dir, sys.executable, "-c", program)
        await run_to_end(runtime, wanted)
        parts = [line.split(" ", 3) for line in log_lines(wanted)]
        assert [(p[2], len(p[3])) for p in parts] == [
            ("P", 16384),
            ("P", 16384),
            ("F", 7232),
            ("P", 3),
        ]

    in_test(test())


def test_a_container_inherits_nothing_from_the_kubelet_whatever_loop_runs_it(
    data_dir: str, isolation: str
) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, isolation)
        wanted = spec(data_dir, "sh", "-c", "ls /proc/self/fd | wc -l; sleep 1000")
        with socket.socket() as inherited:
            inherited.set_inheritable(True)
            await asyncio.wait_for(runtime.run(wanted), 10)
        await eventually(lambda: os.path.getsize(wanted.log_path) > 0)
        assert log_lines(wanted)[0].endswith("F 4")  # the standard three, and ls's own
        limits: dict[str, Any] = {"timeout_s": 5, "output_size_bytes_max": 100}
        result = await runtime.exec(wanted.container_id, ["ls", "/proc/self/fd"], **limits)
        assert result.output.split() == [b"0", b"1", b"2", b"3"]

    in_test(test(), uvloop.run)


def test_a_missing_program_is_an_error_that_names_it(data_dir: str, isolation: str) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, isolation)
        with pytest.raises(RuntimeFailure, match="no-such-program") as failure:
            await runtime.run(spec(data_dir, "no-such-program"))
        assert failure.value.reason == "RunContainerError"
        ended = runtime.containers("uid-1")[-1]
        assert (ended.exit_code, ended.reason) == (128, "StartError")

    in_test(test())


def test_a_container_without_a_command_says_what_to_do(data_dir: str) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, "plain")
        with pytest.raises(RuntimeFailure, match="give the container a `command`") as failure:
            await runtime.run(spec(data_dir))
        assert failure.value.reason == "CreateContainerError"

    in_test(test())


def test_sigterm_reaches_the_program_and_kill_ends_what_ignores_it(
    data_dir: str, isolation: str
) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, isolation)
        polite = spec(data_dir, "sleep", "1000", name="polite")
        deaf = spec(data_dir, "sh", "-c", "trap '' TERM; echo up; sleep 1000", name="deaf")
        for wanted in (polite, deaf):
            await runtime.run(wanted)
        await eventually(lambda: os.path.getsize(deaf.log_path) > 0)
        for wanted in (polite, deaf):
            await runtime.signal(wanted.container_id)
        assert await runtime.wait(polite.container_id, 5)
        assert not await runtime.wait(deaf.container_id, 0.2)
        await runtime.kill(deaf.container_id)
        codes = {c.name: c.exit_code for c in runtime.containers("uid-1")}
        assert codes == {"polite": 143, "deaf": 137}

    in_test(test())


def test_nothing_that_a_container_started_outlives_it(data_dir: str, isolation: str) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, isolation)
        mark = f"7{time.time_ns() % 10**8}"
        await run_to_end(runtime, spec(data_dir, "sh", "-c", f"setsid sleep {mark} & exit 0"))
        assert not processes_with(mark)

    in_test(test())


def processes_with(argument: str) -> list[str]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if argument.encode() in words:
            found.append(name)
    return found


@needs_root
def test_volumes_are_at_their_paths_and_writes_stay_in_the_container(
    data_dir: str, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "key").write_text("value\n")
    marker = f"/etc/raykube-test-{uuid.uuid4().hex}"

    async def test() -> None:
        runtime = await runtime_at(data_dir, "root")
        program = f"cat /var/run/a/key; touch {marker}; hostname; echo $$; touch /var/run/a/no"
        mounts = [Mount(str(volume), "/var/run/a", read_only=True)]
        wanted = spec(data_dir, "sh", "-c", program, mounts=mounts)
        ended = await run_to_end(runtime, wanted)
        texts = [line.split(" ", 3)[3] for line in log_lines(wanted)]
        assert texts[:3] == ["value", "pod-1", "2"]
        assert "Read-only file system" in texts[3]
        assert ended.exit_code != 0
        assert not os.path.exists(marker)
        assert sorted(os.listdir(volume)) == ["key"]

    in_test(test())


def test_plain_mode_links_volumes_under_an_environment_variable(
    data_dir: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("value\n")

    async def test() -> None:
        runtime = await runtime_at(data_dir, "plain")
        mounts = [Mount(str(tmp_path), "/etc/a")]
        wanted = spec(data_dir, "sh", "-c", "cat $RAYKUBE_MOUNTS/etc/a/key", mounts=mounts)
        await run_to_end(runtime, wanted)
        assert log_lines(wanted)[0].endswith("F value")

    in_test(test())


def test_exec_runs_inside_and_is_cut_off_in_time_and_size(data_dir: str, isolation: str) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, isolation)
        wanted = spec(data_dir, "sleep", "1000", env={"PATH": os.environ["PATH"], "A": "b"})
        await runtime.run(wanted)
        run = runtime.exec
        limits: dict[str, Any] = {"timeout_s": 10, "output_size_bytes_max": 5}
        result = await run(wanted.container_id, ["sh", "-c", "echo $A-123456; exit 4"], **limits)
        assert (result.exit_code, result.output) == (4, b"b-123")
        limits["timeout_s"] = 0.3
        result = await run(wanted.container_id, ["sleep", "88.25"], **limits)
        assert result.timed_out
        await eventually(lambda: not processes_with("88.25"))

    in_test(test())


KUBELET_THAT_HANGS = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from cluster.kubelet.runtimes.base import ContainerSpec
from cluster.kubelet.runtimes.process import ProcessRuntime
async def main():
    runtime = ProcessRuntime(sys.argv[2])
    await runtime.start(lambda uid: None)
    runtime.isolation = sys.argv[3]
    await runtime.run(ContainerSpec("uid-1", "main", 0, "id-1",
        ["sh", "-c", "echo first; sleep 0.7; echo second; exec sleep 1000"],
        {"PATH": "/usr/bin:/bin"}, sys.argv[2] + "/logs/0.log", hostname="a"))
    print("running", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


def test_containers_survive_a_killed_kubelet_and_are_adopted(data_dir: str, isolation: str) -> None:
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", KUBELET_THAT_HANGS, root, data_dir, isolation]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as kubelet:
        assert kubelet.stdout is not None
        assert kubelet.stdout.readline() == b"running\n"
        os.killpg(kubelet.pid, signal.SIGKILL)
    process = records.process_of(records.folder_of(data_dir, "uid-1", "main", 0))
    assert process is not None

    async def test() -> None:
        runtime = await runtime_at(data_dir, isolation)
        (found,) = runtime.containers("uid-1")
        assert found.running
        assert process.is_alive()
        log = Path(found.log_path)
        await eventually(lambda: "second" in log.read_text())
        await runtime.signal("id-1")
        assert await runtime.wait("id-1", 5)
        assert runtime.containers("uid-1")[0].exit_code == 143

    in_test(test())


def test_a_container_whose_shim_was_killed_is_reported_as_ended(
    data_dir: str, isolation: str
) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, isolation)
        wanted = spec(data_dir, "sleep", "1000")
        await runtime.run(wanted)
        process = records.process_of(records.folder_of(data_dir, "uid-1", "main", 0))
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        assert await runtime.wait(wanted.container_id, 5)
        ended = runtime.containers("uid-1")[0]
        assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")

    in_test(test())


def test_reap_leaves_no_process_mount_or_folder(data_dir: str, isolation: str) -> None:
    mark = f"8{time.time_ns() % 10**8}"

    async def test() -> None:
        runtime = await runtime_at(data_dir, isolation)
        program = f"setsid sleep {mark} & sleep {mark}"
        await runtime.run(spec(data_dir, "sh", "-c", program))
        await eventually(lambda: len(processes_with(mark)) == 2)
        await runtime.stop()

    in_test(test())
    assert power_off(data_dir) >= 2
    assert not processes_with(mark)
    assert os.listdir(os.path.join(data_dir, "pods")) == ["uid-1"]
    reap(data_dir)
    assert not os.path.exists(os.path.join(data_dir, "pods"))
    assert not [point for point, _ in host_mounts.mounts() if point.startswith(data_dir)]


def test_a_launcher_that_was_killed_is_replaced_and_ends_with_the_kubelet(data_dir: str) -> None:
    async def test() -> None:
        runtime = await runtime_at(data_dir, "plain")
        await run_to_end(runtime, spec(data_dir, "true"))
        first = runtime._launcher._process
        assert first is not None
        first.kill()
        await first.wait()
        again = spec(data_dir, "true", attempt=1, container_id="again")
        assert (await run_to_end(runtime, again)).exit_code == 0
        second = runtime._launcher._process
        assert second is not None
        assert second.pid != first.pid
        await runtime.stop()
        assert second.returncode is not None

    in_test(test())
