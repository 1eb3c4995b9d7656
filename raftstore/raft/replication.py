"""How a leader sends its log: pipelined, within a window, or as a snapshot."""

from __future__ import annotations

from raftstore.raft.consensus import Entry
from raftstore.raft.interface import Owner
from raftstore.raft.progress import Progress
from raftstore.raft.wal import Wal

MAX_MESSAGE_BYTES = 1 << 20
MAX_UNACKNOWLEDGED_ENTRIES = 4096


class Replicator:
    """Sends AppendEntries of one log. What a link does not take is sent later."""

    def __init__(self, owner: Owner, wal: Wal) -> None:
        self._owner, self._wal = owner, wal

    def replicate(
        self, peer: str, progress: Progress, term: int, commit_index: int, beat: bool
    ) -> None:
        """Send what `peer` lacks; if nothing, a heartbeat if `beat` or the commit index moved."""
        if progress.next - 1 < self._wal.first_index:
            self._owner.send_snapshot(peer)
            return
        while self._wants_entries(progress):
            if not self._send(peer, progress, term, commit_index, with_entries=True):
                return
            beat = False
        if beat or (not progress.probing and progress.sent_commit < commit_index):
            self._send(peer, progress, term, commit_index, with_entries=progress.probing)

    def _wants_entries(self, progress: Progress) -> bool:
        window = progress.next - progress.match <= MAX_UNACKNOWLEDGED_ENTRIES
        return progress.next <= self._wal.last_index and not progress.awaiting and window

    def _send(
        self, peer: str, progress: Progress, term: int, commit_index: int, *, with_entries: bool
    ) -> bool:
        previous = progress.next - 1
        entries = self._entries_from(progress.next) if with_entries else []
        message = {
            "type": "append",
            "term": term,
            "previous_index": previous,
            "previous_term": self._wal.term_at(previous),
            "entries": entries,
            "commit": commit_index,
        }
        if not self._owner.post(peer, message):
            return False
        progress.sent(previous + len(entries))
        progress.sent_commit = commit_index
        return True

    def _entries_from(self, index: int) -> list[Entry]:
        entries = self._wal.slice(index, index + MAX_UNACKNOWLEDGED_ENTRIES)
        size_bytes = 0
        for count, (command, _, _) in enumerate(entries, 1):
            size_bytes += len(command)
            if size_bytes >= MAX_MESSAGE_BYTES:
                return entries[:count]
        return entries
