"""The day on which a token of a secret was last used, as a label of the secret.

Upstream's names. Since when this is noted stands in a config map, so that whoever deletes what is
not used knows for how long it has been watched.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver.context import Kept
from cluster.machinery.status import ApiError
from raftstore.errors import StoreError

log = logging.getLogger(__name__)

Object = dict[str, Any]
NAMESPACE, NAME = "kube-system", "kube-apiserver-legacy-service-account-token-tracking"
LAST_USED = "kubernetes.io/legacy-token-last-used"


class LegacyTokenUse:
    """Notes uses in the background, at most one write a secret and day."""

    def __init__(self, seams: Seams, kept: Mapping[str, Kept]) -> None:
        self._seams, self._kept = seams, kept
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def note(self, secret: Object) -> None:
        labels = secret["metadata"].get("labels") or {}
        namespace, name = secret["metadata"]["namespace"], secret["metadata"]["name"]
        key = f"{namespace}/{name}"
        if labels.get(LAST_USED) == self._today() or key in self._tasks:
            return
        task = asyncio.get_running_loop().create_task(self._write(namespace, name))
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _write(self, namespace: str, name: str) -> None:
        async def change(obj: Object) -> Object:
            obj["metadata"].setdefault("labels", {})[LAST_USED] = self._today()
            return obj

        try:
            await self._kept["v1/secrets"].registry.update(namespace, name, change)
        except (ApiError, StoreError) as error:
            log.info("the use of the token in %s/%s is not noted: %s", namespace, name, error)

    async def begin(self) -> None:
        """Say since when uses are noted, unless an earlier server has."""
        try:
            await self._kept["v1/configmaps"].registry.create({
                "kind": "ConfigMap",
                "apiVersion": "v1",
                "metadata": {"namespace": NAMESPACE, "name": NAME},
                "data": {"since": self._today()},
            })  # fmt: skip
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    def _today(self) -> str:
        wall_s = self._seams.clock.wall()
        return datetime.datetime.fromtimestamp(wall_s, datetime.UTC).strftime("%Y-%m-%d")
