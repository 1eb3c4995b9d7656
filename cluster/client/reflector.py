"""List, then watch from there, for ever: the feed of an informer."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

from cluster.client.backoff import Backoff
from cluster.client.errors import ClientError
from cluster.client.rest import Client, Object
from cluster.client.timeouts import IdleTimeout
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)


class Reflector:
    """Calls `replace(items)` after each list and `apply(type, object)` for each event."""

    page = 500
    idle_s = 90.0
    """A silent watch is opened anew: its server may be frozen (bookmarks come more often)."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str,
        selectors: dict[str, Any],
        replace: Callable[[list[Object]], None],
        apply: Callable[[str, Object], None],
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._selectors = selectors
        self._replace = replace
        self._apply = apply
        self._version = ""
        self._backoff = Backoff(client.seams.randomness)
        self.relists = 0
        self.last_error: Exception | None = None

    @property
    def version(self) -> str:
        return self._version

    async def run(self) -> None:
        """Until cancelled. Errors are retried with back-off; 410 starts over with a list."""
        while True:
            try:
                await self._round()
                self.last_error = None
            except (ApiError, ClientError, TimeoutError) as error:
                await self._failed(error)

    async def _round(self) -> None:
        if not self._version:
            await self._list()
        await self._watch()

    async def _failed(self, error: Exception) -> None:
        if isinstance(error, ApiError) and error.code == 410:
            self._version = ""
        if repr(error) != repr(self.last_error):
            log.info("%s: %s", self._resource.group_resource, error)
        self.last_error = error
        await self._client.seams.clock.sleep(self._backoff.next_s())

    async def _list(self) -> None:
        self.relists += 1
        items: list[Object] = []
        token = ""
        while True:
            page = await self._page(token)
            items += map(_lean, page["items"])
            token = page["metadata"].get("continue") or ""
            if not token:
                break
        self._replace(items)
        self._version = page["metadata"]["resourceVersion"]

    async def _page(self, token: str) -> Object:
        return await self._client.list(
            self._resource,
            self._namespace,
            limit=self.page,
            continue_=token,
            **self._selectors,
        )

    async def _watch(self) -> None:
        randomness = self._client.seams.randomness
        events = cast(
            AsyncGenerator[tuple[str, Object], None],
            self._client.watch(
                self._resource,
                self._namespace,
                resource_version=self._version,
                timeout_s=int(300 * (1 + randomness.random())),
                bookmarks=True,
                **self._selectors,
            ),
        )
        async with (
            contextlib.aclosing(events),
            IdleTimeout(self._client.seams.clock, self.idle_s) as idle,
        ):
            async for kind, obj in events:
                idle.touch()
                self._take(kind, obj)

    def _take(self, kind: str, obj: Object) -> None:
        self._backoff.reset()
        if kind != "BOOKMARK":
            self._apply(kind, _lean(obj))
        self._version = obj["metadata"]["resourceVersion"]


def _lean(obj: Object) -> Object:
    """Without managedFields, often half of an object: the server keeps them over an update."""
    obj["metadata"].pop("managedFields", None)
    return obj
