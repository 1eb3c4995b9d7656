"""Reading a bbolt file that may be damaged: nothing in it is trusted.

Every page must be inside the file, be of the kind expected, and hold keys that ascend over the
whole bucket; no bucket has more pages than the file, however its pages refer to one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from actors.seams.disk import File
from raftstore.bolt import pages
from raftstore.bolt.pages import DamagedFile, Meta

Element = TypeVar("Element")
MAX_DEPTH = 64
MAX_PAGE_BYTES = 64 << 20
"""With all that overflows; etcd's greatest value is far below."""


class BoltFile:
    """The buckets of a file, which stays open. Pages are read when they are needed."""

    def __init__(self, file: File) -> None:
        """Raises DamagedFile unless there is an intact meta page."""
        self._file = file
        self._meta = _meta(file)
        if self._meta.pages * self._meta.page_bytes > file.size():
            raise DamagedFile(
                f"the file is cut off: it should have {self._meta.pages} pages of "
                f"{self._meta.page_bytes} bytes"
            )
        root = _Tree(self, self._meta.root, None)
        self._roots = {
            name: _bucket(self, name, value) for flags, name, value in root if flags & pages.BUCKET
        }

    @property
    def size_bytes(self) -> int:
        return self._meta.pages * self._meta.page_bytes

    def buckets(self) -> list[bytes]:
        return list(self._roots)

    def items(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in order; none if there is no such bucket. Raises DamagedFile."""
        tree = self._roots.get(bucket)
        for flags, key, value in tree or ():
            if not flags & pages.BUCKET:
                yield key, value

    def last(self, bucket: bytes) -> tuple[bytes, bytes] | None:
        """The last item, without reading the others. Raises DamagedFile."""
        tree = self._roots.get(bucket)
        return tree.last() if tree is not None else None

    def page(self, number: int) -> bytes:
        """A page with all that overflows. Raises DamagedFile."""
        if not 2 <= number < self._meta.pages:
            raise DamagedFile(f"page {number} is outside of the file")
        size_bytes = self._meta.page_bytes
        header = self._file.read_at(number * size_bytes, pages.HEADER.size)
        own, _, _, overflow = pages.HEADER.unpack(header)
        if own != number:
            raise DamagedFile(f"page {number} calls itself {own}")
        total_bytes = (1 + overflow) * size_bytes
        if number + overflow >= self._meta.pages or total_bytes > MAX_PAGE_BYTES:
            raise DamagedFile(f"page {number} goes beyond the file")
        return self._file.read_at(number * size_bytes, total_bytes)

    @property
    def pages(self) -> int:
        return self._meta.pages


class _Tree:
    """A bucket: a tree of pages, or one page inside the element that names the bucket."""

    def __init__(self, file: BoltFile, root: int, inline: bytes | None) -> None:
        self._file, self._root, self._inline = file, root, inline

    def __iter__(self) -> Iterator[pages.LeafElement]:
        self._visited, last = 0, None
        for number, page in self._leaves(self._root, 0):
            for element in _elements(number, pages.decode_leaf, page):
                if last is not None and element[1] <= last:
                    raise DamagedFile(f"page {number}: its keys are not in order")
                last = element[1]
                yield element

    def last(self) -> tuple[bytes, bytes] | None:
        number = self._root
        for _ in range(MAX_DEPTH):
            page = self._page(number)
            if _kind(number, page) == pages.LEAF:
                elements = _elements(number, pages.decode_leaf, page)
                return elements[-1][1:] if elements else None
            number = self._children(number, page)[-1][1]
        raise DamagedFile(f"page {number} is too deep in its tree")

    def _leaves(self, number: int, depth: int) -> Iterator[tuple[int, bytes]]:
        page = self._page(number)
        self._visited += 1
        if depth > MAX_DEPTH or self._visited > self._file.pages:
            raise DamagedFile(f"page {number}: pages refer to one another in a circle")
        if _kind(number, page) == pages.LEAF:
            yield number, page
            return
        for _, child in self._children(number, page):
            yield from self._leaves(child, depth + 1)

    @staticmethod
    def _children(number: int, page: bytes) -> list[pages.BranchElement]:
        children = _elements(number, pages.decode_branch, page)
        if not children:
            raise DamagedFile(f"page {number}: a branch without children")
        return children

    def _page(self, number: int) -> bytes:
        return self._file.page(number) if self._inline is None else self._inline


def _meta(file: File) -> Meta:
    """The newer intact one of the two meta pages."""
    found = [pages.decode_meta(file.read_at(0, pages.META_BYTES))]
    sizes = [found[0].page_bytes] if found[0] else pages.PAGE_SIZES
    found += [pages.decode_meta(file.read_at(size, pages.META_BYTES)) for size in sizes]
    intact = [meta for meta in found if meta is not None]
    if not intact:
        raise DamagedFile("it is no bbolt file, or both of its meta pages are damaged")
    return max(intact, key=lambda meta: meta.transaction)


def _bucket(file: BoltFile, name: bytes, value: bytes) -> _Tree:
    if len(value) < pages.BUCKET_HEAD.size:
        raise DamagedFile(f"bucket {name!r} has no head")
    root, _ = pages.BUCKET_HEAD.unpack_from(value)
    inline = value[pages.BUCKET_HEAD.size :] if not root else None
    if inline is not None and len(inline) < pages.HEADER.size:
        raise DamagedFile(f"bucket {name!r} is cut off")
    return _Tree(file, root, inline)


def _kind(number: int, page: bytes) -> int:
    kind: int = pages.HEADER.unpack_from(page)[1]
    if kind not in (pages.LEAF, pages.BRANCH):
        raise DamagedFile(f"page {number} should be a leaf or a branch, and is of kind {kind}")
    return kind


def _elements(number: int, decode: Callable[[bytes], list[Element]], page: bytes) -> list[Element]:
    try:
        return decode(page)
    except DamagedFile as error:
        raise DamagedFile(f"page {number}: {error}") from None
