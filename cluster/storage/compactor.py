"""Forgets old versions in the store, as kube-apiserver does for etcd.

Every interval it compacts to the revision of one interval ago, so any list or watch may go on
for at least that long. Several servers doing the same do no harm: the oldest wins.
"""

from __future__ import annotations

import logging

from actors.seams import Seams
from cluster.storage.feed import Feed
from raftstore.errors import Compacted, StoreError
from raftstore.types import Store

log = logging.getLogger(__name__)

INTERVAL_S = 300.0


async def run(store: Store, seams: Seams, feed: Feed, interval_s: float = INTERVAL_S) -> None:
    """Until cancelled."""
    earlier = 0
    while True:
        await seams.clock.sleep(interval_s)
        try:
            if 0 < earlier < feed.revision:
                await store.compact(earlier)
        except Compacted:
            pass  # another server was quicker
        except StoreError as error:
            log.warning("the store could not be compacted to %d: %s", earlier, error)
            continue
        earlier = feed.revision
