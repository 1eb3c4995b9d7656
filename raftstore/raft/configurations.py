"""The configurations in a log: the newest counts from when it is appended (thesis 4.1)."""

from __future__ import annotations

from collections.abc import Iterable

from raftstore.raft.consensus import Entry
from raftstore.raft.membership import Configuration

CONFIGURATION = b"\x02"
"""First byte of an entry that holds one."""


class Configurations:
    """Oldest first; the first is that of the snapshot, or the one the store began with."""

    def __init__(self, index: int, base: Configuration, entries: Iterable[Entry]) -> None:
        self._known = [(index, base)]
        for command, entry_index, _ in entries:
            if entry_index > index:
                self.appended(entry_index, command)

    @property
    def current(self) -> Configuration:
        return self._known[-1][1]

    @property
    def index(self) -> int:
        """Of the entry that made the current one."""
        return self._known[-1][0]

    def as_of(self, index: int) -> Configuration:
        """The one that counted when the entry at `index` was appended."""
        return next(c for i, c in reversed(self._known) if i <= index)

    def appended(self, index: int, command: bytes) -> bool:
        """Whether the entry changed the configuration."""
        if command[:1] != CONFIGURATION:
            return False
        self._known.append((index, Configuration.unpack(command[1:])))
        return True

    def truncated(self, index: int) -> bool:
        """Entries from `index` on are gone; whether the configuration is an older one again."""
        kept = [known for known in self._known if known[0] < index] or self._known[:1]
        changed = len(kept) < len(self._known)
        self._known = kept
        return changed
