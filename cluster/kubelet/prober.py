"""Runs the probes of one container from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from actors.seams import Seams
from cluster.kubelet import probes
from cluster.kubelet.handlers import HandlerFailed, Handlers
from cluster.kubelet.pod_worker import Health

Object = dict[str, Any]


class ContainerProber:
    """`health` is always current; `on_change()` follows each change of it.

    `on_failure(kind, message)` is called for each failed check, for the Unhealthy event.
    """

    def __init__(
        self,
        container: Object,
        container_id: str,
        pod_ip: str,
        handlers: Handlers,
        seams: Seams,
        on_change: Callable[[], None],
        on_failure: Callable[[str, str], None],
        *,
        was_ready: bool = False,
    ) -> None:
        self._container = container
        self._container_id = container_id
        self._pod_ip = pod_ip
        self._handlers = handlers
        self._seams = seams
        self._on_change = on_change
        self._on_failure = on_failure
        self._probes = {k: container[f"{k}Probe"] for k in probes.KINDS if f"{k}Probe" in container}
        self._verdicts = {kind: probes.first(kind) for kind in self._probes}
        if was_ready:  # adopted: what the last kubelet found out holds until a check says otherwise
            self._verdicts = {kind: probes.Verdict(passed=True) for kind in self._probes}
        self._tasks: list[asyncio.Task[None]] = []
        self._dead = False

    @property
    def health(self) -> Health:
        def passed(kind: str) -> bool:
            return self._verdicts[kind].passed if kind in self._verdicts else True

        started = passed("startup")
        live = not self._dead and (passed("liveness") or not started)
        return Health(started, live, started and passed("readiness"))

    def start(self) -> None:
        if "startup" in self._probes:
            self._spawn("startup")
        else:
            self._start_others()

    def _start_others(self) -> None:
        for kind in ("liveness", "readiness"):
            if kind in self._probes:
                self._spawn(kind)

    def _spawn(self, kind: str) -> None:
        name = f"{kind} probe {self._container['name']}"
        self._tasks.append(asyncio.create_task(self._run(kind), name=name))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, kind: str) -> None:
        settings = probes.Settings.of(self._probes[kind])
        clock = self._seams.clock
        await clock.sleep(settings.initial_delay_s)
        while True:
            began_s = clock.now()
            if self._count(kind, await self._check(kind, settings), settings):
                return
            await clock.sleep(max(0.01, settings.period_s - (clock.now() - began_s)))

    def _count(self, kind: str, succeeded: bool, settings: probes.Settings) -> bool:
        """Returns whether this probe has nothing more to do."""
        before, old = self.health, self._verdicts[kind]
        new = self._verdicts[kind] = probes.after(old, succeeded, settings)
        if kind == "startup":
            self._dead = not new.passed and not succeeded and new.run >= settings.failure_threshold
            if new.passed:
                self._start_others()
        if self.health != before:
            self._on_change()
        return kind == "startup" and (new.passed or self._dead)

    async def _check(self, kind: str, settings: probes.Settings) -> bool:
        problem = ""
        try:
            async with asyncio.timeout(settings.timeout_s + _EXEC_MARGIN_S):
                await self._handlers.run(
                    self._probes[kind],
                    self._container,
                    self._container_id,
                    self._pod_ip,
                    settings.timeout_s,
                )
        except HandlerFailed as failure:
            problem = str(failure)
        except TimeoutError:
            problem = f"no answer within {settings.timeout_s:g}s"
        except OSError as error:
            problem = str(error)
        if problem:
            self._on_failure(kind, f"{kind.capitalize()} probe failed: {problem}")
        return not problem


_EXEC_MARGIN_S = 0.2
