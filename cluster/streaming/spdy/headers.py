"""Header blocks: names and values with lengths, compressed with a dictionary both sides know."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from cluster.streaming.spdy.errors import SpdyError

BLOCK_SIZE_BYTES_MAX = 64 * 1024
"""Of one block after decompression: a few KiB on the wire could become gigabytes."""
_COUNT = struct.Struct("!I")


WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language
accept-ranges age allow authorization cache-control connection content-base content-encoding
content-language content-length content-location content-md5 content-range content-type date
etag expect expires from host if-match if-modified-since if-none-match if-range
if-unmodified-since last-modified location max-forwards pragma proxy-authenticate
proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade
user-agent vary via warning www-authenticate method get status
"""


def _words() -> bytes:
    """The dictionary of section 2.6.10.1: words with their lengths, then bare text."""
    sized = WORDS.split()
    pairs = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
    text = (
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
        "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
        "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
        "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
        "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
        "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    words = [*sized, *pairs]
    return b"".join(_COUNT.pack(len(w)) + w.encode() for w in words) + text.encode()


DICTIONARY = _words()


class Compressor:
    """One for each direction of a connection: each block is compressed with those before it."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def pack(self, headers: Mapping[str, str]) -> bytes:
        """Names are sent in lower case, as SPDY wants them."""
        parts = [_COUNT.pack(len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                parts += [_COUNT.pack(len(text)), text]
        return self._zlib.compress(b"".join(parts)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class Decompressor:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def unpack(self, block: bytes) -> dict[str, str]:
        """Raises SpdyError for what is malformed or too large: the connection cannot go on."""
        try:
            data = self._zlib.decompress(block, BLOCK_SIZE_BYTES_MAX)
        except zlib.error as error:
            raise SpdyError(f"malformed header block: {error}") from None
        if self._zlib.unconsumed_tail:
            raise SpdyError(f"a header block is larger than {BLOCK_SIZE_BYTES_MAX} bytes")
        return _parse(data)


def _parse(data: bytes) -> dict[str, str]:
    count, at = _number(data, 0)
    headers: dict[str, str] = {}
    for _ in range(count):
        name, at = _text(data, at)
        value, at = _text(data, at)
        if not name or name in headers:
            raise SpdyError("a header has no name, or one that was there already")
        headers[name] = value
    return headers


def _number(data: bytes, at: int) -> tuple[int, int]:
    if at + 4 > len(data):
        raise SpdyError("a header block ends too soon")
    return _COUNT.unpack_from(data, at)[0], at + 4


def _text(data: bytes, at: int) -> tuple[str, int]:
    size, at = _number(data, at)
    if at + size > len(data):
        raise SpdyError("a header block ends too soon")
    return data[at : at + size].decode("utf-8", "replace"), at + size
