"""Streaming a snapshot to a follower that lags behind the log, one checked chunk at a time."""

from __future__ import annotations

from typing import Any

from actors.seams import Disk
from actors.seams.disk import File
from raftstore.raft.consensus import Position
from raftstore.raft.snapshot import IncomingSnapshot, Snapshot

RESEND_S = 2.0


class SnapshotSender:
    """The leader's side: sends from an open file, so a newer snapshot does not disturb it."""

    def __init__(self, disk: Disk, path: str, position: Position, chunk_bytes: int) -> None:
        self.position, self._chunk_bytes = position, chunk_bytes
        self._file: File = disk.open(path)
        self._size = self._file.size()
        self._offset = 0
        self._sent_s = float("-inf")

    def next_message(self, term: int, now_s: float) -> dict[str, Any] | None:
        """The next chunk, unless one was sent lately and not answered yet."""
        if now_s - self._sent_s < RESEND_S:
            return None
        self._sent_s = now_s
        return {
            "type": "snapshot",
            "term": term,
            "position": self.position,
            "offset": self._offset,
            "data": self._file.read_at(self._offset, self._chunk_bytes),
            "size": self._size,
        }

    def answered(self, received_bytes: int) -> None:
        """The follower has this much; go on from there."""
        self._offset = min(received_bytes, self._size)
        self._sent_s = float("-inf")

    def close(self) -> None:
        self._file.close()


class SnapshotReceiver:
    """The follower's side."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk, self._folder = disk, folder
        self._incoming: IncomingSnapshot | None = None

    def add(self, message: dict[str, Any]) -> Snapshot | None:
        """The whole snapshot, durable and verified, once its last chunk came.

        Raises CorruptSnapshot; then nothing is kept and the next chunk has to be the first.
        """
        incoming = self._for(Position(*message["position"]))
        incoming.add(message["offset"], message["data"])
        if incoming.received_bytes < message["size"]:
            return None
        self._incoming = None
        return incoming.finish()

    @property
    def received_bytes(self) -> int:
        return self._incoming.received_bytes if self._incoming else 0

    def abandon(self) -> None:
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = None

    def _for(self, position: Position) -> IncomingSnapshot:
        if self._incoming is None or self._incoming.position != position:
            self.abandon()
            self._incoming = IncomingSnapshot(self._disk, self._folder, position)
        return self._incoming
