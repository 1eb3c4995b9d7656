"""Bugs in who counts."""

from __future__ import annotations

from typing import Any

from actors.simulation.patching import Patch, replace
from raftstore.raft import consensus, node, pysync


def _anybody_counts(original: Any) -> Any:
    def committed(self: Any) -> int:
        everybody = [*(p.match for p in self.progress.values()), self._wal.durable_index]
        counted = sorted(everybody, reverse=True)[: len(self.voters)]
        return consensus.committed_index(counted, self.commit_index, self.term, self._wal.term_at)

    return committed


def _founders_again(original: Any) -> Any:
    def restore(self: Any, loaded: Any) -> Any:
        found = original(self, loaded)
        return found if self._beginning.joins else self._beginning.configuration()

    return restore


PLANTED: dict[str, Patch] = {
    "learners and removed members count in quorums": replace(
        pysync.SafeSyncObj, "_committed", _anybody_counts
    ),
    "snapshots have the founders as members": replace(node.RaftNode, "_restore", _founders_again),
}
