"""Exec and attach for simulated containers: answers from data, and what the container prints."""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from actors.seams import Clock
from cluster.kubelet.logs import LogOptions
from cluster.kubelet.runtimes.base import Container, ExecResult, RuntimeFailure
from cluster.kubelet.runtimes.interactive import Input, Output, Wanted
from cluster.kubelet.simulated import printed
from cluster.kubelet.simulated.behaviour import Answer, Behaviour
from cluster.kubelet.simulated.pods import Pods

NOT_FOUND = 127


class _Sink:
    """Input that nobody reads."""

    async def write(self, data: bytes) -> None:
        return

    def close(self) -> None:
        return


class _Source:
    """Output as it comes; `ended` is set at its end."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.ended = asyncio.Event()

    async def read(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self.ended.set()
            return b""


class SimulatedCommand:
    """A command that has printed all of its output already, or a container that prints."""

    def __init__(self, code: int, stdout: _Source | None, stderr: _Source | None = None) -> None:
        self._code = code
        self._sources = [source for source in (stdout, stderr) if source is not None]
        self.stdin: Input | None = _Sink()
        self.stdout: Output | None = stdout
        self.stderr: Output | None = stderr

    def resize(self, columns: int, rows: int) -> None:
        """There is no terminal that would change."""

    async def wait(self) -> int:
        for source in self._sources:
            await source.ended.wait()
        return self._code

    async def close(self) -> None:
        for source in self._sources:
            source.ended.set()


class SimulatedCommands:
    """What a behaviour has no answer to is not found, as an unknown program is."""

    def __init__(self, pods: Pods, clock: Clock) -> None:
        self._pods = pods
        self._clock = clock

    async def open(
        self, container_id: str, command: Sequence[str], wanted: Wanted
    ) -> SimulatedCommand:
        answer = answer_to(self._pods.behaviour(container_id), command)
        text = answer.output.encode()
        failed = answer.code == NOT_FOUND and wanted.stderr
        stdout = _Source(_chunks(b"" if failed else text)) if wanted.stdout else None
        stderr = _Source(_chunks(text if failed else b"")) if wanted.stderr else None
        return SimulatedCommand(answer.code, stdout, stderr)

    async def attach(self, container_id: str, wanted: Wanted) -> SimulatedCommand:
        """From now on, until the container ends. Raises RuntimeFailure if there is none."""
        found = self._pods.container(container_id)
        if found is None:
            raise RuntimeFailure("NotFound", f"container {container_id} not found")
        known = found

        def latest() -> Container:
            return self._pods.container(container_id) or replace(known, running=False)

        lines = self._pods.behaviour(container_id).logs
        options = LogOptions(follow=True, tail_lines=0)
        stdout = _Source(printed.stream(lines, latest, options, self._clock))
        return SimulatedCommand(0, stdout)

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        timeout_s: float,
        output_size_bytes_max: int,
    ) -> ExecResult:
        answer = answer_to(self._pods.behaviour(container_id), command)
        return ExecResult(answer.code, answer.output.encode()[:output_size_bytes_max])


def answer_to(behaviour: Behaviour, command: Sequence[str]) -> Answer:
    """The first whose pattern matches the command, its words joined by spaces."""
    text = " ".join(command)
    for answer in behaviour.exec:
        if fnmatch.fnmatchcase(text, answer.command):
            return answer
    return Answer(text, f"{command[0]}: not found: this container is simulated\n", NOT_FOUND)


async def _chunks(text: bytes) -> AsyncIterator[bytes]:
    if text:
        yield text
