"""The helper that is started ahead of the next command: used once, replaced when dead, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.kubelet.runtimes import session_helpers
from cluster.kubelet.runtimes.base import ContainerSpec, RuntimeFailure
from cluster.kubelet.runtimes.interactive import Wanted
from cluster.kubelet.runtimes.process import ProcessRuntime
from cluster.kubelet.runtimes.reap import reap
from cluster.kubelet.runtimes.session_helpers import Helper


class Rig:
    def __init__(self, runtime: ProcessRuntime, container_id: str) -> None:
        self.runtime, self.container_id = runtime, container_id

    async def echo(self, word: str) -> bytes:
        wanted = Wanted(stdout=True)
        running = await self.runtime.open(self.container_id, ["echo", word], wanted)
        assert running.stdout is not None
        said = b""
        while data := await running.stdout.read():
            said += data
        assert await running.wait() == 0
        await running.close()
        return said

    async def spare(self) -> Helper:
        task = self.runtime._helpers._spare
        assert task is not None
        return await asyncio.shield(task)


@pytest.fixture
def run(tmp_path: Path) -> Any:
    async def whole(test: Callable[[Rig], Awaitable[None]]) -> None:
        runtime = ProcessRuntime(str(tmp_path / "node"))
        await runtime.start(lambda _uid: None)
        runtime.isolation = "plain"
        env = {"PATH": os.environ["PATH"]}
        log, name = str(tmp_path / "0.log"), uuid.uuid4().hex
        await runtime.run(ContainerSpec("u", "c", 0, name, ["sleep", "1000"], env, log))
        try:
            await asyncio.wait_for(test(Rig(runtime, name)), 30)
        finally:
            await runtime.stop()

    yield lambda test: asyncio.run(whole(test))
    reap(str(tmp_path / "node"))


def test_the_next_command_is_run_by_the_helper_that_waits(run: Any) -> None:
    async def test(rig: Rig) -> None:
        assert await rig.echo("one") == b"one\n"
        waiting = await rig.spare()
        assert await rig.echo("two") == b"two\n"
        assert await waiting.process.wait() == 0
        assert (await rig.spare()).process.pid != waiting.process.pid

    run(test)


def test_a_helper_that_died_while_it_waited_is_replaced(run: Any) -> None:
    async def test(rig: Rig) -> None:
        await rig.echo("one")
        waiting = await rig.spare()
        os.kill(waiting.process.pid, signal.SIGKILL)
        await waiting.process.wait()
        assert await rig.echo("two") == b"two\n"

    run(test)


def test_a_helper_that_nobody_needs_ends_after_a_while_and_with_the_runtime(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(rig: Rig) -> None:
        await rig.echo("one")
        last = await rig.spare()
        monkeypatch.setattr(session_helpers, "SPARE_S", 0.05)
        await rig.echo("two")
        waiting = await rig.spare()
        assert await waiting.process.wait() == 0
        assert last.process.returncode == 0
        monkeypatch.undo()
        await rig.echo("three")
        waiting = await rig.spare()
        await rig.runtime.stop()
        assert waiting.process.returncode == 0

    run(test)


def test_a_command_that_cannot_be_run_is_told_and_a_long_one_fits(run: Any) -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(RuntimeFailure, match="executable file not found"):
            await rig.runtime.open(rig.container_id, ["nosuch"], Wanted(stdout=True))
        word = "x" * 100_000
        assert await rig.echo(word) == word.encode() + b"\n"

    run(test)
