"""An API server with a bug on purpose: `python planted_server.py BUG CONFIG.json`."""

from __future__ import annotations

import asyncio
import runpy
import sys
from collections.abc import AsyncGenerator
from typing import Any

from cluster.storage.feed import Feed
from cluster.storage.watcher import Watcher

NEWS_LATE_S = 0.005


def _stale_reads() -> None:
    async def fresh(self: Any) -> None:
        """Whatever the cache holds is good enough."""

    init = Feed.__init__

    def __init__(self: Any, store: Any, *others: Any) -> None:
        init(self, Late(store), *others)

    Feed.fresh = fresh  # type: ignore[method-assign]
    Feed.__init__ = __init__  # type: ignore[method-assign]


class Late:
    """A store whose news comes a little late, so that it shows whenever a read does not wait."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def watch(self, *arguments: Any, **options: Any) -> AsyncGenerator[Any, None]:
        async for batch in self._store.watch(*arguments, **options):
            await asyncio.sleep(NEWS_LATE_S)
            yield batch


def _lost_events() -> None:
    take = Watcher._take

    def forgetful(self: Any, batch: Any, end: int) -> None:
        if batch.revision % 7:
            take(self, batch, end)
        else:
            self.sequence = end

    Watcher._take = forgetful  # type: ignore[method-assign]


BUGS = {"stale reads": _stale_reads, "lost events": _lost_events}

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    runpy.run_module("cluster.apiserver.process", run_name="__main__")
