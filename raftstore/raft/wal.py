"""The write-ahead log: entries, truncations, term and vote in one sequence of checked frames.

A frame is what one `sync` made durable. Frames are numbered, so a missing one is noticed, and
the next one is only written when the one before is durable, so:
- a frame that lacks sectors and that nothing valid follows, in the last segment, was being
  written when the power went (see `frames`): nobody was told that it is durable, it is cut off;
- any other damage has destroyed what was promised, and the log refuses to open.

Segments are preallocated files; those that a snapshot covers are dropped whole.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack

from actors.seams import Disk
from actors.seams.disk import File
from raftstore.raft import frames
from raftstore.raft.consensus import Entry

SEGMENT_BYTES = 16 << 20

_STATE, _ENTRY, _TRUNCATE, _RESET = range(4)
"""Kinds of records in a frame: [kind, ...]. The numbers are on disks: they never change."""


class CorruptLog(Exception):
    """The log lost something that it had promised to keep; the message says where."""


class _Segment(NamedTuple):
    number: int
    path: str
    last_index: int
    """The highest entry in it or before it."""


class Wal:
    """The durable log of one member. Changes are buffered until `sync`.

    `entries[0]` is the oldest entry known: its term matters, its command is not needed again.
    """

    def __init__(self, disk: Disk, folder: str, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._disk, self._folder, self._segment_bytes = disk, folder, segment_bytes
        self.entries: list[Entry] = []
        self.term = 0
        self.voted_for: str | None = None
        self.durable_index = 0
        self.sync_count = 0
        self.repaired_bytes = 0
        self._pending: list[Any] = []
        self._failure: OSError | None = None
        self._next_number = 0
        self._sealed: list[_Segment] = []
        self._segment_number = 0
        self._file: File | None = None
        self._offset = 0
        self._capacity = 0

    # ---- reading

    @property
    def first_index(self) -> int:
        return self.entries[0][1]

    @property
    def last_index(self) -> int:
        return self.entries[-1][1]

    def term_at(self, index: int) -> int:
        return self.entries[index - self.entries[0][1]][2]

    def slice(self, start: int, stop: int) -> list[Entry]:
        """Entries with `start` <= index < `stop`."""
        first = self.first_index
        return self.entries[max(0, start - first) : max(0, stop - first)]

    def holds(self, index: int, term: int) -> bool:
        """Whether the log has this very entry."""
        inside = bool(self.entries) and self.first_index <= index <= self.last_index
        return inside and self.term_at(index) == term

    # ---- changing (durable after `sync`)

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._pending.append((_ENTRY, *entry))

    def truncate_from(self, index: int) -> None:
        del self.entries[index - self.first_index :]
        self.durable_index = min(self.durable_index, index - 1)
        self._pending.append((_TRUNCATE, index))

    def set_state(self, term: int, voted_for: str | None) -> None:
        self.term, self.voted_for = term, voted_for
        self._pending.append((_STATE, term, voted_for))

    def reset(self, index: int, term: int) -> None:
        """Start again behind an installed snapshot that ends at `index`."""
        self.entries = [(b"", index, term)]
        self.durable_index = 0
        self._pending.append((_RESET, index, term))

    def sync(self) -> None:
        """Make all changes durable. An OSError means that the member must not go on.

        It is never tried again: after a failed fsync the kernel may have dropped what was not
        written and report success the next time.
        """
        if self._failure is not None:
            raise self._failure
        if not self._pending:
            return
        payload = msgpack.packb(self._pending)
        self._pending = []
        try:
            self._write(payload)
            assert self._file is not None
            self._file.sync()
        except OSError as error:
            self._failure = explain(error, self._folder)
            raise self._failure from error
        self.sync_count += 1
        self.durable_index = self.entries[-1][1] if self.entries else 0

    def forget_before(self, index: int) -> None:
        """Drop entries older than `index` (which a durable snapshot covers) and their segments."""
        keep = max(0, min(index, self.last_index) - self.first_index)
        del self.entries[:keep]
        obsolete = [s for s in self._sealed if s.last_index < self.first_index]
        for segment in obsolete:
            self._disk.remove(segment.path)
            self._sealed.remove(segment)
        if obsolete:
            self._disk.sync_folder(self._folder)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    # ---- writing frames

    def _write(self, payload: bytes) -> None:
        size = frames.OVERHEAD_BYTES + len(payload)
        if self._file is None or self._offset + size > self._capacity:
            self._start_segment(size)
        self._put(payload)

    def _put(self, payload: bytes) -> None:
        assert self._file is not None
        frame = frames.encode(self._next_number, payload)
        self._file.write_at(self._offset, frame)
        self._offset += len(frame)
        self._next_number += 1

    def _start_segment(self, size: int) -> None:
        """Each segment opens with the state, so that the ones before it can be dropped."""
        if self._file is not None:
            self._seal()
        self._segment_number += 1
        path = f"{self._folder}/{_name(self._segment_number)}"
        self._file = self._disk.open(path, create=True)
        head = msgpack.packb([(_STATE, self.term, self.voted_for)])
        self._capacity = max(self._segment_bytes, size + len(head) + frames.OVERHEAD_BYTES)
        self._file.truncate(0)
        self._file.allocate(self._capacity)
        self._offset = 0
        self._put(head)
        self._file.sync()
        self._disk.sync_folder(self._folder)

    def _seal(self) -> None:
        assert self._file is not None
        path = f"{self._folder}/{_name(self._segment_number)}"
        self._sealed.append(_Segment(self._segment_number, path, self.durable_index))
        self._file.close()
        self._file = None

    # ---- recovery

    @classmethod
    def open(cls, disk: Disk, folder: str, segment_bytes: int = SEGMENT_BYTES) -> Wal:
        """Read what is there; repair a torn tail. Raises CorruptLog."""
        wal = cls(disk, folder, segment_bytes)
        disk.make_folder(folder)
        names = [n for n in disk.list(folder) if n.endswith(".wal")]
        for position, name in enumerate(names):
            wal._recover(name, is_last=position == len(names) - 1)
        wal._make_found_durable()
        wal.durable_index = wal.entries[-1][1] if wal.entries else 0
        return wal

    def _make_found_durable(self) -> None:
        """A killed process may have left writes and names that only the page cache has."""
        if self._file is not None:
            self._file.sync()
            self._disk.sync_folder(self._folder)

    def _recover(self, name: str, is_last: bool) -> None:
        path, number = f"{self._folder}/{name}", int(name.removesuffix(".wal"))
        file = self._disk.open(path)
        data = file.read_at(0, file.size())
        end = 0
        for frame in frames.decode_all(data):
            self._check_number(path, frame.number, is_first=not self._sealed and end == 0)
            for record in frame.records:
                self._replay(record)
            end = frame.end
        self._check_rest(path, data, end, is_last)
        if is_last:
            self._continue(file, data, end, number)
            return
        file.close()
        last = self.entries[-1][1] if self.entries else 0
        self._sealed.append(_Segment(number, path, last))

    def _check_number(self, path: str, number: int, is_first: bool) -> None:
        if not is_first and number != self._next_number:
            raise CorruptLog(
                f"{path}: frame {number} follows frame {self._next_number - 1}: a part of the log "
                "is missing"
            )
        self._next_number = number + 1

    def _check_rest(self, path: str, data: bytes, end: int, is_last: bool) -> None:
        rest = data[end:]
        if not rest.strip(b"\0"):
            return
        if not is_last or not frames.is_torn(data, end):
            raise CorruptLog(f"{path}: damaged at byte {end}, and this is not a torn write")
        self.repaired_bytes = len(rest.rstrip(b"\0"))

    def _continue(self, file: File, data: bytes, end: int, number: int) -> None:
        """Go on writing where the valid frames end; cut off what is behind."""
        if self.repaired_bytes:
            file.truncate(end)
            file.allocate(max(self._segment_bytes, end))
            file.sync()
        self._file, self._segment_number = file, number
        self._offset, self._capacity = end, file.size()
        if end == 0:
            self._put(msgpack.packb([(_STATE, self.term, self.voted_for)]))
            file.sync()

    def _replay(self, record: Sequence[Any]) -> None:
        kind = record[0]
        if kind == _ENTRY:
            self.entries.append((record[1], record[2], record[3]))
        elif kind == _STATE:
            self.term, self.voted_for = record[1], record[2]
        elif kind == _TRUNCATE:
            self.entries = [e for e in self.entries if e[1] < record[1]]
        elif kind == _RESET:
            self.entries = [(b"", record[1], record[2])]


def explain(error: OSError, folder: str) -> OSError:
    """The same error, saying what it means for the member and what to do."""
    if error.errno == errno.ENOSPC:
        what = "the disk is full: make room, then start the member again"
    else:
        what = f"the disk failed ({error.strerror or error}): the member must not go on with it"
    return OSError(error.errno, f"{what}; nothing that was acknowledged is lost", folder)


def _name(number: int) -> str:
    return f"{number:016d}.wal"
