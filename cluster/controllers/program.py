"""Controllers of one's own as a program: the framework with a leader, outside the manager.

    from cluster.controllers.program import Controller, Result, Watch, custom_resource, main

See `docs/controllers.md`. This module and what it exports are kept stable for users.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actors.component import Config
from actors.seams import Seams, system_seams
from cluster.client import Client, ClientConfig, Elected
from cluster.controllers.framework import Context, Controller, Result, Runner, Watch
from cluster.controllers.informers import Informers
from cluster.machinery import meta
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError

__all__ = [
    "ApiError",
    "Controller",
    "Program",
    "Result",
    "Watch",
    "custom_resource",
    "main",
    "meta",
    "run_controllers",
]

VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")


def custom_resource(
    group: str, version: str, plural: str, kind: str, *, namespaced: bool = True
) -> Resource:
    """A kind that the API serves and raykube does not know, for `Watch` and the client."""
    return Resource(group, version, plural, kind, namespaced, kind.lower(), (), (), VERBS, ())


async def run_controllers(controllers: Iterable[Controller]) -> None:
    """Until cancelled; the first defect of one (not an error that it met) ends all."""
    async with asyncio.TaskGroup() as group:
        for controller in controllers:
            group.create_task(Runner(controller).run(), name=controller.name)


class Program(Elected):
    """Replicas of the same name elect one that works. Config: `Elected`'s, and what the
    controllers read from `context.config`."""

    def __init__(self, name: str, kinds: Sequence[type[Controller]]) -> None:
        super().__init__()
        self.lease_name = name
        self._kinds = kinds
        self._running: list[Controller] = []

    async def start(self, seams: Seams, config: Config) -> None:
        self._config = dict(config)
        await super().start(seams, config)

    def facts(self) -> Mapping[str, Any]:
        return {c.name: {**vars(c.metrics), "queued": len(c.queue)} for c in self._running}

    def metrics(self) -> Iterable[str]:
        for controller in self._running:
            yield from controller.lines()

    async def lead(self, client: Client) -> None:
        informers = Informers(client)
        context = Context(client, self._seams, informers, self._config)
        self._running = [kind(context) for kind in self._kinds]
        try:
            await run_controllers(self._running)
        finally:
            self._running = []
            await informers.stop()


def main(name: str, *kinds: type[Controller], kubeconfig: str = "", **config: Any) -> None:
    """Run them until SIGINT or SIGTERM, then hand over to another replica at once.

    `kubeconfig`: a file; by default $KUBECONFIG, then ~/.kube/config.
    """
    path = kubeconfig or os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
    asyncio.run(_run(Program(name, kinds), {**config, "kubeconfig": path}))


async def _run(program: Program, config: Config) -> None:
    client = ClientConfig.from_kubeconfig(config["kubeconfig"])
    identity = f"{os.uname().nodename}-{os.getpid()}"
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    given = {"name": identity, "client": vars(client), **config}
    await program.start(system_seams(), given)
    waiting = [loop.create_task(ended.wait()), program.task]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting[0].cancel()
        failed = program.task.done()
        await program.stop()
    if failed:
        with contextlib.suppress(asyncio.CancelledError):
            program.task.result()
