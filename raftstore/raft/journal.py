"""The write-ahead log in the shape that SyncObj expects of its journal."""

from __future__ import annotations

from typing import Any

from raftstore.raft.wal import Wal


class WalJournal:
    """The log as SyncObj's constructor and state changes want it."""

    def __init__(self, wal: Wal) -> None:
        self._wal = wal

    def add(self, command: bytes, idx: int, term: int) -> None:
        self._wal.append((command, idx, term))

    def __getitem__(self, item: Any) -> Any:
        return self._wal.entries[item]

    def __len__(self) -> int:
        return len(self._wal.entries)

    def getRaftCommitIndex(self) -> int:
        return 1

    def getCurrentTerm(self) -> int:
        return self._wal.term

    def getVotedForNodeId(self) -> str | None:
        return self._wal.voted_for

    def setCurrentTerm(self, term: int, voted_for: str | None) -> None:
        self._wal.set_state(term, voted_for)

    def _destroy(self) -> None:
        """The log belongs to its owner."""
