"""Bugs in who counts."""

from __future__ import annotations

from typing import Any

from raftstore.raft import consensus, node, pysync
from raftstore.simulation.planted.patching import Patch, replace, several


def _anybody_counts(original: Any) -> Any:
    def committed(self: Any) -> int:
        everybody = [*(p.match for p in self.progress.values()), self._wal.durable_index]
        counted = sorted(everybody, reverse=True)[: len(self.voters)]
        return consensus.committed_index(counted, self.commit_index, self.term, self._wal.term_at)

    return committed


def _hasty_changes(original: Any) -> Any:
    def change(self: Any, change: Any, callback: Any) -> None:
        known = self._configurations._known
        self._configurations._known = [(min(i, self.commit_index), c) for i, c in known]
        try:
            original(self, change, callback)
        finally:
            self._configurations._known[: len(known)] = known

    return change


def _always_ready(original: Any) -> Any:
    return property(lambda self: self.is_leader and self._transfer is None)


def _founders_again(original: Any) -> Any:
    def restore(self: Any, loaded: Any) -> Any:
        found = original(self, loaded)
        return found if self._beginning.joins else self._beginning.configuration()

    return restore


PLANTED: dict[str, Patch] = {
    "learners and removed members count in quorums": replace(
        pysync.SafeSyncObj, "_committed", _anybody_counts
    ),
    "two changes of members at once": several(
        replace(pysync.SafeSyncObj, "change_members", _hasty_changes),
        replace(pysync.SafeSyncObj, "can_change", _always_ready),
    ),
    "snapshots have the founders as members": replace(node.RaftNode, "_restore", _founders_again),
}
