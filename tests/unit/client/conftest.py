"""A small HTTP server on a real socket, and the part of the API that the client's tests need."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from actors.seams import system_seams
from cluster.client import Client, ClientConfig

_ENDINGS = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)


class Http:
    """`handler(method, path, query, headers, body, writer)` answers each request."""

    def __init__(self, handler):
        self.handler = handler
        self.connections = 0
        self.requests = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.tasks = set()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        self.connections += 1
        with contextlib.suppress(*_ENDINGS):
            while line := await reader.readline():
                method, target, _ = line.decode().split()
                headers = {}
                while line := (await reader.readline()).decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests += 1
                parts = urlsplit(target)
                query = {k: v[0] for k, v in parse_qs(parts.query).items()}
                if await self.handler(method, parts.path, query, headers, body, writer) == "close":
                    break
        writer.transport.abort()


def answer(writer, status, obj, headers=""):
    body = obj if isinstance(obj, bytes) else json.dumps(obj).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    writer.write(head.encode() + body)


def failure(code, reason, message=""):
    return {
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


class FakeApi:
    """Namespaced objects of any resource with versions, watches, conflicts and compaction."""

    def __init__(self):
        self.version = 10
        self.compacted = 0
        self.objects = {}
        self.events = []
        self.changed = asyncio.Event()
        self.fail = None
        self.watches = 0

    def put(self, path, obj, kind=None):
        self.version += 1
        obj = copy.deepcopy(obj)
        obj["metadata"] |= {"resourceVersion": str(self.version)}
        old = self.objects.get(path, {"metadata": {"uid": f"uid-{self.version}"}})
        obj["metadata"].setdefault("uid", old["metadata"]["uid"])
        kind = kind or ("MODIFIED" if path in self.objects else "ADDED")
        self.objects[path] = obj
        self._tell(path, kind, obj)
        return obj

    def remove(self, path):
        self.version += 1
        obj = self.objects.pop(path)
        obj = copy.deepcopy(obj)
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._tell(path, "DELETED", obj)

    def _tell(self, path, kind, obj):
        self.events.append((self.version, path, {"type": kind, "object": obj}))
        self.changed.set()
        self.changed = asyncio.Event()

    async def handle(self, method, path, query, headers, body, writer):
        if self.fail is not None and (code := self.fail(method, path)):
            answer(writer, code, failure(code, "InternalError"))
            return None
        if query.get("watch"):
            return await self._watch(path, query, writer)
        code, obj = self._call(method, path, json.loads(body) if body else None)
        answer(writer, code, obj)
        return None

    def _call(self, method, path, body):
        found = self.objects.get(path)
        if method == "POST":
            full = f"{path}/{body['metadata']['name']}"
            if full in self.objects:
                return 409, failure(409, "AlreadyExists")
            return 201, self.put(full, body)
        if (
            method == "GET"
            and found is None
            and path.rsplit("/", 1)[-1] in ("pods", "configmaps", "events", "leases")
        ):
            items = [o for p, o in self.objects.items() if p.startswith(path + "/")]
            return 200, {
                "kind": "List",
                "metadata": {"resourceVersion": str(self.version)},
                "items": items,
            }
        if found is None:
            return 404, failure(404, "NotFound")
        if method == "PUT":
            given = body["metadata"].get("resourceVersion")
            if given and given != found["metadata"]["resourceVersion"]:
                return 409, failure(409, "Conflict")
            return 200, self.put(path, body)
        if method == "PATCH":
            return 200, self.put(path, {**found, **body})
        if method == "DELETE":
            self.remove(path)
            return 200, {"kind": "Status", "status": "Success"}
        return 200, found

    async def _watch(self, path, query, writer):
        self.watches += 1
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        since = int(query["resourceVersion"])
        if since < self.compacted:
            self._frame(writer, {"type": "ERROR", "object": failure(410, "Expired")})
            writer.write(b"0\r\n\r\n")
            return
        while True:
            changed = self.changed
            for version, where, event in self.events:
                if version > since and where.startswith(path + "/"):
                    self._frame(writer, event)
            since = self.version
            await changed.wait()

    def _frame(self, writer, event):
        data = json.dumps(event).encode() + b"\n"
        for part in (data[:7], data[7:]):
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")


@contextlib.asynccontextmanager
async def serving(handler) -> AsyncIterator[tuple[Http, Client]]:
    async with Http(handler) as http:
        client = Client(ClientConfig((http.url,)), system_seams(), timeout_s=2.0)
        try:
            yield http, client
        finally:
            await client.close()


@pytest.fixture
def with_server() -> Callable[..., None]:
    """Run `test(http, client)` against a handler."""

    def run(handler, test: Callable[[Http, Client], Awaitable[None]]):
        async def body():
            async with serving(handler) as (http, client):
                await test(http, client)

        asyncio.run(body())

    return run


@pytest.fixture
def with_api():
    """Run `test(api, http, client)` against a FakeApi."""

    def run(test):
        async def body():
            api = FakeApi()
            async with serving(api.handle) as (http, client):
                await test(api, http, client)

        asyncio.run(body())

    return run


@pytest.fixture
def http_answer():
    return answer


@pytest.fixture
def http_server():
    return Http
