"""Tells the API which volumes of the embedded provisioner this node holds, and removes those that
are released (see `machinery.local_volumes` for who says what)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from cluster.client import Client
from cluster.kubelet.volumes.local_store import LocalStore
from cluster.machinery import local_volumes

Object = dict[str, Any]

log = logging.getLogger(__name__)


class LocalHoldings:
    def __init__(self, client: Client, node: str, store: LocalStore) -> None:
        self._client, self._node, self._store = client, node, store
        self._told: set[str] | None = None
        self._lock = asyncio.Lock()

    async def announce(self, handle: str) -> None:
        """Before anything of the volume is made: whoever releases it knows where it may be."""
        async with self._lock:
            if self._told is None or handle not in self._told:
                await self._tell(self._store.held() | (self._told or set()) | {handle})

    async def _tell(self, held: set[str]) -> None:
        annotations = {local_volumes.HELD: local_volumes.listed(held) or None}
        patch = {"metadata": {"annotations": annotations}}
        await self._client.patch("nodes", self._node, patch)
        self._told = held

    async def follow(self, node: Object, in_use: Callable[[], set[str]]) -> bool:
        """Remove what is released and not used here. False: something is to be tried again."""
        async with self._lock:
            held = self._store.held()
            told = local_volumes.names_in(node, local_volumes.HELD)
            released = local_volumes.names_in(node, local_volumes.RELEASED)
            removed = set()
            for handle in sorted(released & (held | told)):
                if handle not in in_use() and await self._remove(handle):
                    removed.add(handle)
            if removed:
                await self._tell((held | (self._told or told)) - removed)
            return not (released & (held | told)) - removed

    async def _remove(self, handle: str) -> bool:
        if not local_volumes.is_handle(handle):
            return True
        try:
            await asyncio.to_thread(self._store.remove, handle)
        except OSError as error:
            log.warning("volume %s is released but cannot be removed yet: %s", handle, error)
            return False
        log.info("removed the released volume %s", handle)
        return True
