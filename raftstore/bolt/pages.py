"""The pages of a bbolt file as bytes (go.etcd.io/bbolt, file format version 2). Pure.

A page starts with its number, kind, number of elements and how many pages follow that belong to
it (`overflow`). Elements tell where their key and value are, counted from the element itself.
Numbers are little-endian. Pages 0 and 1 are two copies of `Meta`; the one with the greater
transaction number and a right checksum counts.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

PAGE_BYTES = 4096
PAGE_SIZES = tuple(512 << shift for shift in range(8))
"""Those that a file may have: the page size of the machine it was written on."""
BRANCH, LEAF, META, FREELIST = 0x01, 0x02, 0x04, 0x10
BUCKET = 0x01
"""Flag of a leaf element: its value is the head of a bucket."""

HEADER = struct.Struct("<QHHI")  # page, kind, elements, overflow
LEAF_ELEMENT = struct.Struct("<IIII")  # flags, position, key bytes, value bytes
BRANCH_ELEMENT = struct.Struct("<IIQ")  # position, key bytes, child page
BUCKET_HEAD = struct.Struct("<QQ")  # root page (0: the page follows here), sequence
_META = struct.Struct("<IIIIQQQQQ")  # magic, version, page size, flags, root page, sequence,
# freelist, pages, transaction; then the checksum
_CHECKSUM = struct.Struct("<Q")
_MAGIC, _VERSION = 0xED0CDAED, 2
META_BYTES = HEADER.size + _META.size + _CHECKSUM.size

LeafElement = tuple[int, bytes, bytes]
BranchElement = tuple[bytes, int]


class DamagedFile(Exception):
    """A file is no bbolt file, or not what was written; the message says where."""


class Meta(NamedTuple):
    """`pages`: how many the file has. `root`: of the bucket of buckets."""

    page_bytes: int
    root: int
    freelist: int
    pages: int
    transaction: int


def encode_leaf(number: int, elements: Sequence[LeafElement]) -> bytes:
    """`elements` in order of their keys: flags, key, value. As many whole pages as it takes."""
    heads: list[bytes] = []
    data: list[bytes] = []
    position = LEAF_ELEMENT.size * len(elements)
    for flags, key, value in elements:
        heads.append(LEAF_ELEMENT.pack(flags, position, len(key), len(value)))
        data += (key, value)
        position += len(key) + len(value) - LEAF_ELEMENT.size
    return _page(number, LEAF, len(elements), b"".join((*heads, *data)))


def encode_branch(number: int, elements: Sequence[BranchElement]) -> bytes:
    """`elements`: the first key below a child, and the child's page."""
    heads, keys = [], []
    position = BRANCH_ELEMENT.size * len(elements)
    for key, child in elements:
        heads.append(BRANCH_ELEMENT.pack(position, len(key), child))
        keys.append(key)
        position += len(key) - BRANCH_ELEMENT.size
    return _page(number, BRANCH, len(elements), b"".join((*heads, *keys)))


def encode_freelist(number: int) -> bytes:
    """No page is free."""
    return _page(number, FREELIST, 0, b"")


def encode_meta(number: int, meta: Meta) -> bytes:
    page_bytes, root, freelist, pages, transaction = meta
    fields = _MAGIC, _VERSION, page_bytes, 0, root, 0, freelist, pages, transaction
    body = _META.pack(*fields)
    return _page(number, META, 0, body + _CHECKSUM.pack(fnv64a(body)))


def decode_meta(data: bytes) -> Meta | None:
    """The meta page at the start of `data`; None if there is no intact one."""
    if len(data) < META_BYTES:
        return None
    body = data[HEADER.size : HEADER.size + _META.size]
    magic, version, page_bytes, _, root, _, freelist, pages, transaction = _META.unpack(body)
    (checksum,) = _CHECKSUM.unpack_from(data, HEADER.size + _META.size)
    intact = magic == _MAGIC and version == _VERSION and checksum == fnv64a(body)
    if not intact or page_bytes not in PAGE_SIZES:
        return None
    return Meta(page_bytes, root, freelist, pages, transaction)


def decode_leaf(page: bytes) -> list[LeafElement]:
    """The elements of a leaf page with all that overflows. Raises DamagedFile."""
    elements = []
    for address in _addresses(page, LEAF_ELEMENT.size):
        flags, position, key_bytes, value_bytes = LEAF_ELEMENT.unpack_from(page, address)
        start = address + position
        middle, end = start + key_bytes, start + key_bytes + value_bytes
        _check_within(page, start, end)
        elements.append((flags, page[start:middle], page[middle:end]))
    return elements


def decode_branch(page: bytes) -> list[BranchElement]:
    """The elements of a branch page. Raises DamagedFile."""
    elements = []
    for address in _addresses(page, BRANCH_ELEMENT.size):
        position, key_bytes, child = BRANCH_ELEMENT.unpack_from(page, address)
        start = address + position
        _check_within(page, start, start + key_bytes)
        elements.append((page[start : start + key_bytes], child))
    return elements


def fnv64a(data: bytes) -> int:
    """Fowler, Noll and Vo's 64-bit hash, variant 1a."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def _page(number: int, kind: int, count: int, body: bytes) -> bytes:
    pages = -(-(HEADER.size + len(body)) // PAGE_BYTES)
    data = HEADER.pack(number, kind, count, pages - 1) + body
    return data.ljust(pages * PAGE_BYTES, b"\0")


def _addresses(page: bytes, element_bytes: int) -> range:
    _, _, count, _ = HEADER.unpack_from(page)
    end = HEADER.size + count * element_bytes
    if end > len(page):
        raise DamagedFile(f"{count} elements do not fit")
    return range(HEADER.size, end, element_bytes)


def _check_within(page: bytes, start: int, end: int) -> None:
    if not HEADER.size <= start <= end <= len(page):
        raise DamagedFile("an element points outside of its page")
