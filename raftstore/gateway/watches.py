"""Service Watch: many watches over one stream, each with the guarantees of the store's watches.

Answers of all watches of a stream go through one bounded queue, so that a client that does not
read holds up its own watches only. A progress request is answered once every watch of the stream
has told all up to the revision that was current when it was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from raftstore.errors import AuthError, Compacted, InvalidRequest, StoreError
from raftstore.gateway import convert
from raftstore.gateway import protocol_pb2 as pb
from raftstore.gateway.calls import MAX_REQUEST_BYTES, Calls
from raftstore.gateway.core import Asker, Core
from raftstore.gateway.status import status_of
from raftstore.types import ALL_FROM, EventType, Range, WatchBatch

MAX_QUEUED_RESPONSES = 100
MAX_WATCHES = 10_000
NO_WATCH = -1
FILTERS: dict[int, EventType] = {0: "put", 1: "delete"}


class Watches:
    name = "etcdserverpb.Watch"

    def __init__(self, core: Core, calls: Calls) -> None:
        self._core, self._calls = core, calls

    def methods(self) -> Mapping[str, Any]:
        return {"Watch": self._calls.stream(pb.WatchRequest, self.watch)}

    async def watch(self, requests: AsyncIterator[Any], asker: Asker) -> AsyncIterator[Any]:
        stream = _Stream(self._core, asker)
        reading = stream.reading = asyncio.create_task(stream.read(requests))
        try:
            while (response := await stream.responses.get()) is not None:
                yield response
            if stream.failure is not None:
                raise stream.failure
            await reading
        finally:
            await stream.close(reading)


class _Stream:
    """The watches of one client's stream."""

    def __init__(self, core: Core, asker: Asker) -> None:
        self._core, self._asker = core, asker
        self.responses: asyncio.Queue[Any] = asyncio.Queue(MAX_QUEUED_RESPONSES)
        self._watches: dict[int, _Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_id = 0
        self._told = asyncio.Event()
        self.failure: BaseException | None = None
        self.reading: asyncio.Task[None]

    async def read(self, requests: AsyncIterator[Any]) -> None:
        """Carry out requests until the client sends no more; None then ends the responses."""
        try:
            async for request in requests:
                kind = request.WhichOneof("request_union")
                if kind == "create_request":
                    await self._create(request.create_request)
                elif kind == "cancel_request":
                    await self._cancel(request.cancel_request.watch_id)
                elif kind == "progress_request":
                    self._spawn(self._report_progress())
        finally:
            await self.responses.put(None)

    async def close(self, reading: asyncio.Task[None]) -> None:
        tasks = [reading, *self._tasks, *(watch.task for watch in self._watches.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- requests

    async def _create(self, request: Any) -> None:
        """Answered at once: the watch stands before the client learns that it does."""
        key, end = request.key or b"\0", request.range_end
        try:
            if end and end != ALL_FROM and key >= end:
                raise InvalidRequest("mvcc: watcher range is empty")
            watch_id = self._new_id(request.watch_id)
            await self._core.execute(self._asker, Range(key, end, count_only=True), True)
        except AuthError as error:
            await self._refuse(request.watch_id, error)
        except InvalidRequest as error:
            await self._refuse(NO_WATCH, error)
        else:
            self._watches[watch_id] = watch = _Watch(self, watch_id, request, key, end)
            watch.task = asyncio.create_task(watch.run(self._core))
            watch.task.add_done_callback(self._check)
            await watch.created.wait()

    def _new_id(self, wanted: int) -> int:
        """Raises InvalidRequest."""
        if wanted in self._watches and wanted:
            raise InvalidRequest("mvcc: duplicate watch ID provided on the WatchStream")
        if len(self._watches) >= MAX_WATCHES:
            raise InvalidRequest("too many watches on one stream")
        while not wanted and self._next_id in self._watches:
            self._next_id += 1
        watch_id = wanted or self._next_id
        self._next_id += not wanted
        return watch_id

    async def _refuse(self, watch_id: int, error: StoreError) -> None:
        code, text = status_of(error)
        name = "".join(word.capitalize() for word in code.name.split("_"))
        reason = f"rpc error: code = {name} desc = {text}"
        if watch_id == NO_WATCH:
            reason = str(error)
        await self.send(watch_id, created=True, canceled=True, cancel_reason=reason)

    async def _cancel(self, watch_id: int) -> None:
        watch = self._watches.pop(watch_id, None)
        if watch is not None:
            watch.task.cancel()
            await asyncio.gather(watch.task, return_exceptions=True)
            await self.send(watch_id, canceled=True)

    async def _report_progress(self) -> None:
        """As soon as all watches have told everything up to now."""
        now = (await self._core.store.range(b"\0", count_only=True)).revision
        await self._core.store.request_progress()
        while any(watch.revision < now for watch in self._watches.values()):
            self._told.clear()
            await self._told.wait()
        await self.send(NO_WATCH, revision=now)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._check)

    def _check(self, task: asyncio.Task[None]) -> None:
        """What nobody foresaw ends the stream, so that the client learns of it."""
        error = None if task.cancelled() else task.exception()
        if error is not None and self.failure is None:
            self.failure = error
            self.reading.cancel()

    # ---- responses

    async def send(self, watch_id: int, *, revision: int = 0, **fields: Any) -> None:
        header = self._core.header(revision)
        await self.responses.put(pb.WatchResponse(header=header, watch_id=watch_id, **fields))

    async def send_compacted(self, watch_id: int, compact_revision: int) -> None:
        header = self._core.header_without_revision()
        response = pb.WatchResponse(
            header=header, watch_id=watch_id, canceled=True, compact_revision=compact_revision
        )
        await self.responses.put(response)

    def told(self) -> None:
        self._told.set()

    def ended(self, watch_id: int) -> None:
        self._watches.pop(watch_id, None)
        self._told.set()


class _Watch:
    """One watch: passes batches on. `revision`: all up to it was told."""

    task: asyncio.Task[None]

    def __init__(self, stream: _Stream, watch_id: int, request: Any, key: bytes, end: bytes):
        self._stream, self._id, self._request = stream, watch_id, request
        self._key, self._end = key, end
        self.created = asyncio.Event()
        self.revision = max(0, request.start_revision - 1)
        self._heard = False

    async def run(self, core: Core) -> None:
        request = self._request
        filters = [FILTERS[number] for number in request.filters if number in FILTERS]
        batches = core.store.watch(
            self._key,
            self._end,
            start_revision=max(0, request.start_revision),
            prev_kv=request.prev_kv,
            filters=filters,
        )
        try:
            if request.start_revision > 0:
                await self._tell_created(0)
            async with aclosing(batches):
                async for batch in batches:
                    await self._tell(batch)
        except Compacted as error:
            await self._tell_created(0)
            await self._stream.send_compacted(self._id, error.compact_revision)
        finally:
            self.created.set()
            self._stream.ended(self._id)

    async def _tell(self, batch: WatchBatch) -> None:
        await self._tell_created(batch.revision)
        if batch.events:
            await self._tell_events(batch)
        elif self._request.progress_notify and self._heard:
            await self._stream.send(self._id, revision=batch.revision)
        self._heard = True
        self.revision = max(self.revision, batch.revision)
        self._stream.told()

    async def _tell_created(self, revision: int) -> None:
        if not self.created.is_set():
            await self._stream.send(self._id, revision=revision, created=True)
            self.created.set()

    async def _tell_events(self, batch: WatchBatch) -> None:
        """One response, or if the client takes fragments, as many as its size demands."""
        events = [convert.event(event) for event in batch.events]
        fragments = [*_fragments(events)] if self._request.fragment else [events]
        for number, fragment in enumerate(fragments):
            await self._stream.send(
                self._id,
                revision=batch.revision,
                events=fragment,
                fragment=number < len(fragments) - 1,
            )


def _fragments(events: list[Any]) -> list[list[Any]]:
    fragments: list[list[Any]] = [[]]
    size_bytes = 0
    for event in events:
        size_bytes += event.ByteSize()
        if fragments[-1] and size_bytes > MAX_REQUEST_BYTES:
            fragments.append([])
            size_bytes = event.ByteSize()
        fragments[-1].append(event)
    return fragments
