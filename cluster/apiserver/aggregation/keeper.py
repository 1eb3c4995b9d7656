"""Looks after every remote APIService: is it available, and what does it serve.

Each API server asks for itself, as upstream's do: what it may serve depends on what it can reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from typing import Any

from actors.seams import Seams
from cluster.apiserver.aggregation import messages
from cluster.apiserver.aggregation.peers import Peers
from cluster.apiserver.aggregation.registered import Registered
from cluster.apiserver.aggregation.services import Unresolved
from cluster.apiserver.context import Kept
from cluster.apiserver.discovery import converted
from cluster.apiserver.proxying.answers import BackendError
from cluster.client.timeouts import timeout
from cluster.machinery import meta
from cluster.machinery.apiservices import AVAILABLE, ApiService
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest
from cluster.machinery.status import ApiError
from cluster.storage.encoding import Object
from raftstore.errors import StoreError

log = logging.getLogger(__name__)

AGAIN_S = 30.0
"""Between two checks of a server that answers."""
RETRY_S = (0.5, 10.0)
CHECK_TIMEOUT_S = 5.0
ATTEMPTS = 3
SETTLE_S = 0.1
"""Changes of objects come in bursts."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a remote version serves, in the aggregated form of discovery."""

    service: ApiService
    entry: Object
    fresh: bool


class Keeper:
    """One task for each remote APIService. `generation` changes with what they serve."""

    def __init__(self, seams: Seams, kept: Kept, registered: Registered, peers: Peers) -> None:
        """`kept`: the APIServices themselves."""
        self._seams, self._registry = seams, kept.registry
        self._registered, self._peers = registered, peers
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tasks: dict[str, tuple[asyncio.Task[None], asyncio.Event, object]] = {}
        self._found: dict[str, Found] = {}
        self.generation = 0

    def start(self) -> None:
        self._changed.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def touch(self) -> None:
        """Something has changed that availability may depend on."""
        self._changed.set()

    async def stop(self) -> None:
        tasks = [task for task, _, _ in self._tasks.values()]
        tasks += [] if self._task is None else [self._task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def found(self, service: ApiService) -> Found:
        """What is known of it; until its server has answered once that it exists."""
        known = self._found.get(service.name)
        if known is None or known.service.uid != service.uid:
            return Found(service, {"version": service.version, "resources": []}, False)
        return known

    # -- which there are -----------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            await self._seams.clock.sleep(SETTLE_S)
            self._changed.clear()
            remote = {service.name: service for service in self._registered.remote}
            for name in self._tasks.keys() - remote.keys():
                self._drop(name)
            for service in remote.values():
                self._look_after(service)

    def _look_after(self, service: ApiService) -> None:
        assert service.service is not None
        plain = replace(service, available=False)  # what the checks themselves write
        version = plain, self._peers.services.version(service.service)
        known = self._tasks.get(service.name)
        if known is None:
            wake = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._follow(service.name, wake))
            self._tasks[service.name] = task, wake, version
        elif known[2] != version:
            self._tasks[service.name] = known[0], known[1], version
            known[1].set()

    def _drop(self, name: str) -> None:
        task, _, _ = self._tasks.pop(name)
        task.cancel()
        self._peers.forget(name)
        self._found.pop(name, None)
        self.generation += 1

    # -- one of them ---------------------------------------------------------------------------

    async def _follow(self, name: str, wake: asyncio.Event) -> None:
        delay_s = RETRY_S[0]
        while True:
            wake.clear()
            service = next((s for s in self._registered.remote if s.name == name), None)
            try:
                if service is not None and await self._check(service):
                    delay_s = AGAIN_S
                else:
                    delay_s = RETRY_S[0] if delay_s == AGAIN_S else min(delay_s * 2, RETRY_S[1])
            except (ApiError, StoreError, TimeoutError) as error:
                log.info("the state of %s is not written: %s", name, error)
                delay_s = RETRY_S[0]
            except Exception:
                log.exception("%s could not be checked", name)
                delay_s = RETRY_S[1]
            with contextlib.suppress(TimeoutError):
                async with timeout(self._seams.clock, delay_s):
                    await wake.wait()

    async def _check(self, service: ApiService) -> bool:
        """Ask, note and write what came out; whether the server is available."""
        entry, condition = await self._ask(service)
        if entry is not None:
            self._note(Found(service, entry, True))
        elif service.name in self._found:
            self._note(replace(self._found[service.name], fresh=False))
        await self._write(service, condition)
        return entry is not None

    def _note(self, found: Found) -> None:
        known = self._found.get(found.service.name)
        same = known is not None and (known.entry, known.fresh) == (found.entry, found.fresh)
        self._found[found.service.name] = found
        if not same:
            self.generation += 1

    async def _ask(self, service: ApiService) -> tuple[Object | None, Object]:
        """What it serves, and the condition; several times, for endpoints may differ."""
        last = Unresolved("FailedDiscoveryCheck", "not asked")
        for _ in range(ATTEMPTS):
            try:
                self._peers.keep(service)
                entry = await self._discover(service)
            except Unresolved as error:
                last = error
                if error.reason != "FailedDiscoveryCheck":
                    break
            else:
                return entry, _condition("True", "Passed", "all checks passed")
        return None, _condition("False", last.reason, str(last))

    async def _discover(self, service: ApiService) -> Object:
        reference = service.service
        assert reference is not None
        address = self._peers.services.pick(reference)
        url = f"https://{address[0]}:{address[1]}{service.root}"
        message = messages.asking(service.root, self._peers.host(service))
        try:
            status, _, body = await self._peers.ask(service, message, CHECK_TIMEOUT_S, address)
        except BackendError as error:
            text = f'failing or missing response from {url}: Get "{url}": {error}'
            raise Unresolved("FailedDiscoveryCheck", text) from error
        except TimeoutError:
            raise Unresolved("FailedDiscoveryCheck", f"timed out waiting for {url}") from None
        if not 200 <= status < 300:
            text = f"failing or missing response from {url}: bad status from {url}: {status}"
            raise Unresolved("FailedDiscoveryCheck", text)
        return _entry(service, body)

    async def _write(self, service: ApiService, condition: Object) -> None:
        """Written only where it differs; another server may have written the same."""
        now_s = self._seams.clock.wall()

        async def change(newest: Object) -> Object:
            if newest["metadata"].get("uid") == service.uid:
                meta.set_condition(newest, condition, now_s)
            return newest

        entry = self._registry.cache.get(self._registry.key("", service.name))
        if entry is None or not _differs(entry.decode(), condition):
            return
        try:
            await self._registry.update("", service.name, change, subresource="status")
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise


def _differs(obj: Object, condition: Object) -> bool:
    known = meta.condition(obj, AVAILABLE) or {}
    return any(known.get(key) != value for key, value in condition.items())


def _condition(state: str, reason: str, message: str) -> Object:
    return {"type": AVAILABLE, "status": state, "reason": reason, "message": message}


def _entry(service: ApiService, body: bytes) -> Object:
    """A server that answers is available, whatever it says that it serves."""
    try:
        document: Any = json_codec.decode(body)
        return converted.version(document, service.group, service.version)
    except (BadRequest, KeyError, TypeError, AttributeError) as error:
        log.warning("discovery of %s cannot be read: %r", service.name, error)
        return {"version": service.version, "resources": []}
