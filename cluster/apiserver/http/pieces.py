"""Large answers in pieces: TLS keeps a buffer as large as the largest piece ever written, for
every connection, and memory that large is not at hand but has to be fetched."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

PIECE_BYTES = 32 * 1024


def write_pieces(transport: asyncio.Transport, data: bytes) -> None:
    """Write what is in one piece already."""
    if len(data) <= PIECE_BYTES:
        transport.write(data)
        return
    view = memoryview(data)
    for start in range(0, len(data), PIECE_BYTES):
        transport.write(view[start : start + PIECE_BYTES])


def joined(parts: Sequence[bytes]) -> Iterator[bytes]:
    """The same bytes in larger pieces, of `PIECE_BYTES` at most unless a part is longer (pure)."""
    ends = list(accumulate(map(len, parts)))
    start = written = 0
    while start < len(parts):
        end = max(bisect_right(ends, written + PIECE_BYTES, start), start + 1)
        yield b"".join(parts[start:end])
        start, written = end, ends[end - 1]
