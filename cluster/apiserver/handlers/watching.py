"""WATCH: a stream of events from a revision on, framed once for all watchers."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from itertools import islice
from typing import Any

from cluster.apiserver.context import Call
from cluster.apiserver.handlers import parameters, watch_sockets
from cluster.apiserver.http.messages import Stream
from cluster.apiserver.negotiation import JSON, PROTOBUF
from cluster.apiserver.shapes import Shaper
from cluster.machinery import status
from cluster.machinery.status import ApiError
from cluster.storage.entry import Entry
from cluster.storage.listing import NOT_OLDER
from cluster.storage.watcher import Batch, Watcher
from cluster.streaming import websocket

TIMEOUT_S = (1800.0, 3600.0)
"""A watch without timeoutSeconds ends at a random time between, so that clients spread."""
BOOKMARK_S = 60.0
BOOKMARK_BEFORE_END_S = 2.0
DRAINED_WITHIN_S = 1.5
INITIAL_BATCH = 256
STUCK_S = 5.0


async def watch(call: Call) -> None:
    """Answer with events until the client goes, its time is up, or it has fallen behind."""
    plan = await _plan(call)
    call.context.metrics.watchers += 1
    try:
        if websocket.wanted(call.request.headers):
            binary = plan.shaper.wanted.encoding == PROTOBUF
            await watch_sockets.serve(call.request, plan.run, binary)
        else:
            await plan.run(call.request.open_stream(200, _headers(plan.shaper)))
    except ConnectionError:
        return
    finally:
        call.context.metrics.watchers -= 1


def _headers(shaper: Shaper) -> dict[str, str]:
    wanted = shaper.wanted
    content_type = wanted.content_type
    if wanted.encoding == PROTOBUF or not (wanted.shape or wanted.encoding == JSON):
        content_type = f"{wanted.encoding};stream=watch"
    return {"Content-Type": content_type, "Cache-Control": "no-cache, private"}


async def _plan(call: Call) -> _Session:
    """Check the options and wait for the revision: after this, nothing can be refused."""
    request = call.request
    shaper = call.shaper()
    version = request.parameter("resourceVersion")
    parameters.check_version(version)
    initial = _initial_events(call)
    selection = parameters.selection(call)
    if initial or (initial is None and version in ("", "0")):
        await _reach(call, version)
        entries = list(call.registry.cache.select(selection))
        revision = call.kept.progress.revision
    else:
        entries, revision = [], int(version or call.kept.progress.revision)
    session = _Session(call, shaper, entries, revision, bool(initial))
    try:
        session.watcher = call.registry.cache.watch(
            selection, revision, session.deliver, session.end, session.ready
        )
    except ApiError as error:
        session.end(error)
    return session


def _initial_events(call: Call) -> bool | None:
    """sendInitialEvents; None if it is not given. 422 where it may not be."""
    request = call.request
    name, match = parameters.INITIAL_EVENTS, request.parameter("resourceVersionMatch")
    if not request.parameter(name):
        if match:
            text = (
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
            parameters.refuse("resourceVersionMatch", text)
        return None
    if match != NOT_OLDER:
        text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        parameters.refuse("resourceVersionMatch", text)
    return request.flag(name)


async def _reach(call: Call, version: str) -> None:
    feed = call.kept.progress
    if version == "":
        await feed.fresh()
    elif version != "0" or feed.revision == 0:
        await feed.reach(int(version))


class _Session:
    """One watch: initial objects, then events as the cache delivers them."""

    def __init__(
        self, call: Call, shaper: Shaper, entries: Sequence[Entry], revision: int, marked: bool
    ) -> None:
        self.shaper = shaper
        self._call, self._entries = call, entries
        self._revision, self._marked = revision, marked
        self._bookmarks = call.request.flag("allowWatchBookmarks")
        self._error: ApiError | None = None
        self._form: Hashable = None
        """Of every event but the first; None before that."""
        self._ended = asyncio.Event()
        self._stream: Stream | None = None
        self.watcher: Watcher | None = None

    # -- called by the cache -----------------------------------------------------------------

    def ready(self) -> bool:
        return self._stream is not None and self._stream.writable

    def deliver(self, batch: Batch) -> None:
        assert self._stream is not None
        shaper = self.shaper
        if self._form is not None:
            self._stream.write_chunks(batch.joined(self._form, shaper.frame))
            return
        type_, change = batch.selected[0]  # the first of all may look different
        self._stream.write_chunks(change.frame(shaper.form, type_, shaper.frame))
        shaper.sent()
        self._form = shaper.form
        if len(batch.selected) > 1:
            self.deliver(Batch(batch.selected[1:], batch.revision))

    def end(self, error: ApiError) -> None:
        self._error = error
        self._ended.set()

    # -- the life of the stream --------------------------------------------------------------

    async def run(self, stream: Stream) -> None:
        try:
            await self._send_initial(stream)
            self._stream = stream
            stream.on_writable(self._resume)
            self._resume()
            await self._last()
        finally:
            if self.watcher is not None:
                self.watcher.close()
                self.watcher = None  # they know each other: a cycle holds the connection
        if self._error is not None:
            await self._say_why(stream, self._error)

    def _resume(self) -> None:
        if self.watcher is not None and not self._ended.is_set():
            self.watcher.resume()

    async def _send_initial(self, stream: Stream) -> None:
        entries = iter(self._entries)
        while batch := list(islice(entries, INITIAL_BATCH)):
            frames = []
            for entry in batch:
                frames.append(self.shaper.frame("ADDED", entry.data))
                self.shaper.sent()
            stream.write_chunks(b"".join(frames))
            await stream.drain()
        self._entries = ()
        if self._marked and self._bookmarks:
            stream.write_chunks(self.shaper.bookmark(self._revision, initial_end=True))

    async def _last(self) -> None:
        """Wait for whatever ends the watch, with bookmarks on the way."""
        assert self._stream is not None
        clock = self._call.context.seams.clock
        end_s = clock.now() + self._timeout_s()
        loop = asyncio.get_running_loop()
        ends = [
            loop.create_task(self._ended.wait()),
            loop.create_task(self._drained()),
        ]
        try:
            while (left_s := end_s - clock.now()) > 0:
                timer = loop.create_task(clock.sleep(self._next_mark_s(left_s)))
                waited: list[asyncio.Future[Any]] = [*ends, self._stream.closed, timer]
                done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                timer.cancel()
                if done != {timer}:
                    return
                if clock.now() < end_s:
                    self._mark()
        finally:
            for task in ends:
                task.cancel()

    async def _drained(self) -> None:
        """The server is about to stop: watches end in turn, not to begin elsewhere all at once."""
        context = self._call.context
        await context.draining.wait()
        await context.seams.clock.sleep(context.seams.randomness.uniform(0, DRAINED_WITHIN_S))

    def _timeout_s(self) -> float:
        asked_s = parameters.number(self._call, "timeoutSeconds")
        return asked_s or self._call.context.seams.randomness.uniform(*TIMEOUT_S)

    def _next_mark_s(self, left_s: float) -> float:
        """Every minute, and once more shortly before the end."""
        if left_s <= BOOKMARK_BEFORE_END_S:
            return left_s
        return min(BOOKMARK_S, left_s - BOOKMARK_BEFORE_END_S)

    def _mark(self) -> None:
        """A bookmark says that nothing up to its revision is missing, so only if that is so."""
        assert self._stream is not None
        watcher = self.watcher
        if self._bookmarks and watcher is not None:
            watcher.resume()
        if self._bookmarks and watcher is not None and watcher.caught_up:
            revision = max(self._call.kept.progress.revision, self._revision)
            self._stream.write_chunks(self.shaper.bookmark(revision))

    async def _say_why(self, stream: Stream, error: status.ApiError) -> None:
        """Tell why it ends; a client that does not read is dropped instead of waited for."""
        stream.write_chunks(self.shaper.error(error))
        loop = asyncio.get_running_loop()
        drained = loop.create_task(stream.drain())
        timer = loop.create_task(self._call.context.seams.clock.sleep(STUCK_S))
        await asyncio.wait([drained, timer], return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            stream.abort()
        for task in (drained, timer):
            task.cancel()
        await asyncio.gather(drained, timer, return_exceptions=True)
