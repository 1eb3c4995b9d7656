"""The Engine API of a Docker daemon: HTTP/1.1 over its Unix socket, a connection for each request.

Requests may be answered slowly (a wait, a log that is followed) or be taken over (exec, attach),
and the daemon is on this machine: there is nothing to gain from keeping connections.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

VERSION = "v1.41"
"""Docker 20.10; later daemons still speak it."""
CALL_TIMEOUT_S = 120.0
_BODY_SIZE_BYTES_MAX = 64 << 20
_LINE_SIZE_BYTES_MAX = 1 << 20


class EngineError(OSError):
    """What the daemon answered, or that it did not (`status` is 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message

    @property
    def is_unknown_id(self) -> bool:
        return self.status == 404


class Answer:
    """A status and headers, and the body as it comes."""

    def __init__(
        self, reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]
    ) -> None:
        self.reader, self.status, self.headers = reader, status, headers

    async def pieces(self) -> AsyncIterator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self.reader.readline()).partition(b";")[0] or b"0", 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            return
        left = int(self.headers["content-length"]) if "content-length" in self.headers else -1
        while left and (data := await self.reader.read(65536 if left < 0 else min(left, 65536))):
            left -= len(data) if left > 0 else 0
            yield data

    async def body(self) -> bytes:
        found = bytearray()
        async for piece in self.pieces():
            found += piece
            if len(found) > _BODY_SIZE_BYTES_MAX:
                raise EngineError(0, "the Docker daemon's answer is too long")
        return bytes(found)


class Engine:
    """`endpoint`: unix:///PATH, or a path alone."""

    def __init__(self, endpoint: str) -> None:
        self.path = endpoint.removeprefix("unix://")

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        """The JSON of the answer, None if it has none. Raises EngineError."""
        try:
            async with asyncio.timeout(timeout_s), self.open(method, path, query, body) as answer:
                text = await answer.body()
        except TimeoutError:
            raise EngineError(0, f"the Docker daemon did not answer in {timeout_s:g} s") from None
        return json.loads(text) if text.strip() else None

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer]:
        """An answer whose body is read as it comes. Raises EngineError if it is an error."""
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await self._connect()
            writer.write(_request(method, path, query, body, headers or {}))
            answer = await _answer(reader)
            await _check(answer)
            yield answer
        except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
            raise EngineError(0, f"the Docker daemon at {self.path}: {error}") from error
        finally:
            if writer is not None:
                writer.close()

    async def take_over(
        self, path: str, query: Mapping[str, Any] | None, body: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection itself, for what an exec or attach says. Raises EngineError."""
        reader, writer = await self._connect()
        try:
            upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
            writer.write(_request("POST", path, query, body, upgrade))
            await _check(await _answer(reader))
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(self.path, limit=_LINE_SIZE_BYTES_MAX)
        except OSError as error:
            raise EngineError(0, f"the Docker daemon at {self.path}: {error}") from error


def _request(
    method: str,
    path: str,
    query: Mapping[str, Any] | None,
    body: Any,
    headers: Mapping[str, str],
) -> bytes:
    given = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in (query or {}).items()}
    target = f"/{VERSION}{path}" + (f"?{urlencode(given)}" if given else "")
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {target} HTTP/1.1", "Host: docker", f"Content-Length: {len(data)}"]
    if body is not None:
        lines.append("Content-Type: application/json")
    if "Connection" not in headers:
        lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


async def _answer(reader: asyncio.StreamReader) -> Answer:
    line = await reader.readline()
    if not line.startswith(b"HTTP/1."):
        raise EngineError(0, "the Docker daemon ended the connection")
    headers = {}
    while (header := await reader.readline()).strip():
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    status = int(line.split()[1])
    if status in (204, 304):
        headers["content-length"] = "0"
    return Answer(reader, status, headers)


async def _check(answer: Answer) -> None:
    if answer.status < 400:
        return
    text = await answer.body()
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text.decode(errors="replace") or f"HTTP {answer.status}"
    raise EngineError(answer.status, message)
