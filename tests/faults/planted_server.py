"""An API server with a bug on purpose: `python planted_server.py BUG CONFIG.json`."""

from __future__ import annotations

import runpy
import sys
from typing import Any

from cluster.storage.feed import Feed
from cluster.storage.watcher import Watcher


def _stale_reads() -> None:
    async def fresh(self: Any) -> None:
        """Whatever the cache holds is good enough."""

    Feed.fresh = fresh  # type: ignore[method-assign]


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
