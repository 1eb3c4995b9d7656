"""Writing a bbolt file front to back: keys come in order, so every page is written once.

Only the pages that are not full yet are in memory: one for each level of the tree.
"""

from __future__ import annotations

from typing import Any

from actors.seams.disk import File
from raftstore.bolt import pages
from raftstore.bolt.pages import Meta

_FIRST = 2
"""Page after the two meta pages."""


class BoltWriter:
    """Buckets one after another into an empty file; `finish` makes it a valid one."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._next = _FIRST
        self._buckets: dict[bytes, TreeWriter] = {}

    def bucket(self, name: bytes) -> TreeWriter:
        """A new bucket. Several may be filled at the same time."""
        tree = self._buckets[name] = TreeWriter(self)
        return tree

    def finish(self) -> int:
        """The size of the file in bytes. It is not synced yet."""
        root = TreeWriter(self)
        for name, tree in sorted(self._buckets.items()):
            root.add(name, pages.BUCKET_HEAD.pack(tree.finish(), 0), pages.BUCKET)
        root_page = root.finish()
        freelist = self.write(pages.encode_freelist)
        for number in range(_FIRST):
            meta = Meta(pages.PAGE_BYTES, root_page, freelist, self._next, number)
            self._file.write_at(number * pages.PAGE_BYTES, pages.encode_meta(number, meta))
        return self._next * pages.PAGE_BYTES

    def write(self, encode: Any, *elements: Any) -> int:
        """Append `encode(page number, *elements)`; returns the page number."""
        number = self._next
        data: bytes = encode(number, *elements)
        self._file.write_at(number * pages.PAGE_BYTES, data)
        self._next += len(data) // pages.PAGE_BYTES
        return number


class TreeWriter:
    """A tree from its leaves up: a page that is full becomes an element of the level above."""

    def __init__(self, file: BoltWriter) -> None:
        self._file = file
        self._levels = [_Level(pages.encode_leaf, pages.LEAF_ELEMENT.size)]
        self._last = b""

    def add(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Keys are not empty and ascend. Raises ValueError."""
        if key <= self._last:
            raise ValueError(f"key {key!r} does not come after {self._last!r}")
        self._last = key
        self._put(0, key, (flags, key, value), len(value))

    def finish(self) -> int:
        """The page of the root."""
        depth = 0
        while depth < len(self._levels) - 1:
            self._flush(depth)
            depth += 1
        root = self._levels[depth]
        return self._file.write(root.encode, root.elements)

    def _put(self, depth: int, key: bytes, element: Any, value_bytes: int = 0) -> None:
        if depth == len(self._levels):
            self._levels.append(_Level(pages.encode_branch, pages.BRANCH_ELEMENT.size))
        level = self._levels[depth]
        size_bytes = level.element_bytes + len(key) + value_bytes
        if level.elements and level.size_bytes + size_bytes > pages.PAGE_BYTES:
            self._flush(depth)
        if not level.elements:
            level.first = key
        level.elements.append(element)
        level.size_bytes += size_bytes

    def _flush(self, depth: int) -> None:
        level = self._levels[depth]
        number = self._file.write(level.encode, level.elements)
        level.clear()
        self._put(depth + 1, level.first, (level.first, number))


class _Level:
    """The page of one level that is being filled."""

    def __init__(self, encode: Any, element_bytes: int) -> None:
        self.encode, self.element_bytes = encode, element_bytes
        self.first = b""
        self.clear()

    def clear(self) -> None:
        self.elements: list[Any] = []
        self.size_bytes = pages.HEADER.size
