"""Taking a snapshot now and then, in slices beside everything else, so that the log stays short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from raftstore.raft import snapshot
from raftstore.raft.consensus import Position
from raftstore.raft.pysync import SafeSyncObj
from raftstore.raft.snapshot import CHUNK_BYTES, SnapshotWriter
from raftstore.raft.wal import SEGMENT_BYTES, Wal, explain

Cut = Callable[[], tuple[Any, Iterable[Any]]]


@dataclass(frozen=True)
class SnapshotPolicy:
    """A snapshot every `entries`, once the log since the last one outweighs half of it."""

    entries: int = 10_000
    keep_entries: int = 5_000
    """Kept in the log behind a snapshot, for followers that lag a little."""
    segment_bytes: int = SEGMENT_BYTES
    """Of one file of the log."""
    chunk_bytes: int = CHUNK_BYTES
    """Of a snapshot in one message to a follower."""


class SnapshotTaker:
    """`cut`: head and chunks of the state as of now; `fail`: the disk cannot be trusted."""

    def __init__(
        self,
        seams: Seams,
        folder: str,
        policy: SnapshotPolicy,
        cut: Cut,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._seams, self._folder, self._policy = seams, folder, policy
        self._cut, self._fail = cut, fail
        self._task: asyncio.Task[None] | None = None
        self.index = 0
        """Of the entry at which the newest snapshot ends, or the one that is being taken."""
        self.log_bytes = 0
        """Proposed since then."""
        self._size_bytes = 0

    def turn(self, raft: SafeSyncObj, wal: Wal) -> None:
        enough = raft.applied_index - self.index >= self._policy.entries
        if enough and self._task is None and self.log_bytes * 2 >= self._size_bytes:
            self.index, self.log_bytes = raft.applied_index, 0
            self._task = asyncio.create_task(self._take(raft, wal))
            self._task.add_done_callback(self._done)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _take(self, raft: SafeSyncObj, wal: Wal) -> None:
        applied = raft.applied_index
        position = Position(wal.term_at(applied), applied)
        head, chunks = self._cut()
        head = [raft.configuration_at(applied).pack(), head]
        writer = SnapshotWriter(self._seams.disk, self._folder, position, head)
        try:
            for chunk in chunks:
                writer.add(chunk)
                writer.sync()
                await self._seams.clock.sleep(0)
        except BaseException:
            writer.abandon()
            raise
        if self._superseded(position):
            writer.abandon()
            return
        writer.finish()
        self._size_bytes = writer.size_bytes
        wal.forget_before(position.index - self._policy.keep_entries)

    def _superseded(self, position: Position) -> bool:
        """A newer one was installed meanwhile."""
        newest = snapshot.newest_index(self._seams.disk, self._folder)
        return newest >= position.index

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(explain(error, self._folder) if isinstance(error, OSError) else error)
