"""The supervisor: keeps every actor of a cluster running, on whatever host gives it processes.

It starts all actors at once (components wait for one another themselves), watches each one's end,
probes each one's health, restarts with back-off and publishes where everything is. Decisions are
`actors.supervision`; this module does what they say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from actors.component import ActorSpec, Health
from actors.errors import ActorError, NotFound
from actors.seams import Clock
from actors.supervision import Phase, Policy, Supervised

log = logging.getLogger(__name__)


class ActorHandle(Protocol):
    """A process (or its stand-in) that runs one actor's components."""

    @property
    def pid(self) -> int: ...

    async def start(self) -> Mapping[str, Any]:
        """Start its components; returns facts such as `addresses`. Raises ComponentFailed."""
        ...

    async def ended(self) -> str:
        """Wait until it is gone; returns why."""
        ...

    async def health(self) -> Health: ...

    async def stop(self) -> None:
        """Ask it to stop in order, then make sure that it is gone."""
        ...

    async def kill(self) -> None:
        """End it at once, as SIGKILL does."""
        ...


class Host(Protocol):
    async def spawn(self, spec: ActorSpec) -> ActorHandle:
        """Create the process; nothing in it is started yet."""
        ...


@dataclass
class _Charge:
    """One actor in the supervisor's care."""

    spec: ActorSpec
    state: Supervised
    handle: ActorHandle | None = None
    health: Health = field(default_factory=lambda: Health(False, "not started"))
    facts: Mapping[str, Any] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends a wait for the next start."""


Publish = Callable[[dict[str, Any]], None]


class Supervisor:
    """Runs `specs` on `host` until `stop`. `publish` is given the picture whenever it changes."""

    def __init__(
        self,
        host: Host,
        specs: tuple[ActorSpec, ...],
        clock: Clock,
        *,
        publish: Publish | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._host = host
        self._clock = clock
        self._policy = policy or Policy()
        self._publish = publish
        self._published: dict[str, Any] | None = None
        self._stopping = False
        self._charges = {spec.name: _Charge(spec, Supervised(self._policy)) for spec in specs}

    async def start(self) -> None:
        for charge in self._charges.values():
            charge.task = asyncio.create_task(self._keep(charge), name=charge.spec.name)

    async def stop(self) -> None:
        """Stop every actor, those that others depend on last; afterwards none of them runs."""
        self._stopping = True
        for charge in self._charges.values():
            if charge.task:
                charge.task.cancel()
        tasks = [charge.task for charge in self._charges.values() if charge.task]
        await asyncio.gather(*tasks, return_exceptions=True)
        for wave in stop_waves([charge.spec for charge in self._charges.values()]):
            await asyncio.gather(*(self._stop_one(self._charges[name]) for name in wave))

    def picture(self) -> dict[str, Any]:
        """JSON-like: every actor's kind, host, pid, addresses, phase, readiness and restarts."""
        return {name: _describe(charge) for name, charge in self._charges.items()}

    async def kill(self, name: str, *, hold_s: float = 0.0) -> int:
        """SIGKILL one actor; it is restarted with back-off, and not before `hold_s`."""
        charge = self._charge(name)
        if charge.handle is None:
            raise NotFound(f"{name} is not running ({charge.state.phase})")
        charge.state.hold(self._clock.now() + hold_s)
        pid = charge.handle.pid
        await charge.handle.kill()
        return pid

    async def configure(self, name: str, settings: Mapping[str, Any]) -> None:
        """Start an actor again, at once, with other settings of its first component.

        One that runs with these settings already is left alone.
        """
        charge = self._charge(name)
        changed = with_settings(charge.spec, settings)
        charge.wake.set()
        if changed != charge.spec:
            charge.spec = changed
            if charge.handle is not None:
                await charge.handle.kill()

    def _charge(self, name: str) -> _Charge:
        try:
            return self._charges[name]
        except KeyError:
            known = ", ".join(sorted(self._charges))
            raise NotFound(f"no component named {name!r}; there are: {known}") from None

    async def _keep(self, charge: _Charge) -> None:
        while not self._stopping:
            error = await self._run_once(charge)
            if charge.health.failed:
                error = charge.health.detail
            charge.handle, charge.health = None, Health(False, error)
            delay_s = charge.state.exited(self._clock.now(), error)
            log.warning("%s ended (%s); starting again in %.1f s", charge.spec.name, error, delay_s)
            self._changed()
            timer = self._clock.call_later(delay_s, charge.wake.set)
            await charge.wake.wait()
            timer.cancel()

    async def _run_once(self, charge: _Charge) -> str:
        """One life of an actor, from spawn to end. Returns why it ended."""
        charge.wake.clear()
        charge.state.starting()
        self._changed()
        spec = charge.spec
        try:
            charge.handle = await self._host.spawn(spec)
            if spec is not charge.spec:
                raise ActorError("it is to start with other settings")
            async with asyncio.timeout(self._policy.start_timeout_s):
                charge.facts = await charge.handle.start()
        except (ActorError, TimeoutError) as error:
            await self._discard(charge)
            return str(error) or f"did not start within {self._policy.start_timeout_s:.0f} s"
        charge.state.started(self._clock.now())
        self._changed()
        probing = asyncio.create_task(self._probe(charge, charge.handle))
        try:
            return await charge.handle.ended()
        finally:
            probing.cancel()

    async def _probe(self, charge: _Charge, handle: ActorHandle) -> None:
        while True:
            try:
                async with asyncio.timeout(self._policy.probe_timeout_s):
                    charge.health = await handle.health()
                answered = True
            except (ActorError, TimeoutError) as error:
                charge.health = Health(False, str(error) or "does not answer")
                answered = False
            self._changed()
            if charge.health.failed or charge.state.probed(answered):
                log.warning("%s must go: %s", charge.spec.name, charge.health.detail)
                await handle.kill()
                return
            ready = charge.health.ready
            await self._clock.sleep(self._policy.probe_period_s if ready else 0.1)

    async def _discard(self, charge: _Charge) -> None:
        if charge.handle is not None:
            with contextlib.suppress(ActorError):
                await charge.handle.kill()

    async def _stop_one(self, charge: _Charge) -> None:
        if charge.handle is not None:
            with contextlib.suppress(ActorError):
                await charge.handle.stop()
        charge.handle, charge.health = None, Health(False, "stopped")
        charge.state.stopped()
        self._changed()

    def _changed(self) -> None:
        picture = self.picture()
        if self._publish is not None and picture != self._published:
            self._published = picture
            self._publish(picture)


STOP_ORDER = ("fleet", "node", "scheduler", "controller-manager", "api-server", "store")
"""Kinds in the order in which they stop: whoever writes stops before what it writes to."""


def stop_waves(specs: list[ActorSpec]) -> list[list[str]]:
    """Names by wave; kinds that `STOP_ORDER` does not name stop first."""
    rank = {kind: position for position, kind in enumerate(STOP_ORDER)}
    waves: dict[int, list[str]] = {}
    for spec in specs:
        waves.setdefault(rank.get(spec.kind, -1), []).append(spec.name)
    return [waves[key] for key in sorted(waves)]


def with_settings(spec: ActorSpec, settings: Mapping[str, Any]) -> ActorSpec:
    """The spec with these values in the config of its first component."""
    first, *others = spec.components
    changed = replace(first, config={**first.config, **settings})
    return replace(spec, components=(changed, *others))


def _describe(charge: _Charge) -> dict[str, Any]:
    state, handle = charge.state, charge.handle
    return {
        "kind": charge.spec.kind,
        "host": charge.spec.host,
        "pid": handle.pid if handle and state.phase is Phase.RUNNING else None,
        "addresses": list(charge.facts.get("addresses", ())),
        "phase": str(state.phase),
        "ready": charge.health.ready,
        "detail": charge.health.detail,
        "facts": dict(charge.health.facts),
        "restarts": state.restarts,
        "last_error": state.last_error,
    }
