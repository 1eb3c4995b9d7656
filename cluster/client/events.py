"""Events for people: written in the background, never in the way of who reports them."""

from __future__ import annotations

import asyncio
import logging
import zlib
from typing import Any

from actors.seams import Seams
from cluster.client.errors import ClientError
from cluster.client.event_correlation import Correlator, Occurrence, Series
from cluster.client.rest import Client, Object
from cluster.machinery import meta
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)

_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")


class EventRecorder:
    """`event` returns at once; when the queue is full the event is dropped and counted. Events of
    one object are written in their order, those of several objects side by side."""

    limit = 4000
    writers = 4
    attempts = 5
    retry_s = 1.0

    def __init__(self, client: Client, seams: Seams, component: str, host: str = "") -> None:
        self._client = client
        self._seams = seams
        self._source = {"component": component} | ({"host": host} if host else {})
        self._correlator = Correlator()
        self._queues = [asyncio.Queue[Occurrence]() for _ in range(self.writers)]
        self._tasks: list[asyncio.Task[None]] = []
        self.dropped = 0

    def start(self) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._run(queue), name="event recorder")
                for queue in self._queues
            ]

    async def stop(self) -> None:
        """End at once; what still waits is lost."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def event(
        self, obj: Object, type_: str, reason: str, message: str, *, field_path: str = ""
    ) -> None:
        """Report on `obj` (an object, or an ObjectReference). `type_`: "Normal" or "Warning"."""
        reference = _reference(obj) | ({"fieldPath": field_path} if field_path else {})
        ordered = tuple((name, reference[name]) for name in _FIELDS if reference.get(name))
        subject = str(reference.get("uid") or reference.get("name"))
        if sum(queue.qsize() for queue in self._queues) >= self.limit:
            self.dropped += 1
            return
        queue = self._queues[zlib.crc32(subject.encode()) % self.writers]
        queue.put_nowait(Occurrence(ordered, type_, reason, message[:1024]))

    async def flush(self) -> None:
        """Wait until everything reported so far was handled."""
        for queue in self._queues:
            await queue.join()

    async def _run(self, queue: asyncio.Queue[Occurrence]) -> None:
        while True:
            occurrence = await queue.get()
            try:
                series = self._correlator.observe(occurrence, self._seams.clock.wall())
                if series is not None:
                    await self._write(series)
            finally:
                queue.task_done()

    async def _write(self, series: Series) -> None:
        for _ in range(self.attempts):
            try:
                await self._store(series)
                return
            except ApiError as error:
                log.info("event refused: %s", error)
                self.dropped += 1
                return
            except ClientError as error:
                log.debug("event not written: %s", error)
                await self._seams.clock.sleep(self.retry_s * self._seams.randomness.random())
        self.dropped += 1

    async def _store(self, series: Series) -> None:
        namespace = _namespace(series)
        if series.name:
            patch = {
                "count": series.count,
                "lastTimestamp": meta.format_time(series.last_s),
                "message": series.occurrence.message,
            }
            try:
                await self._client.patch("events", series.name, patch, namespace)
                return
            except ApiError as error:
                if error.code != 404:
                    raise
            series.count, series.first_s = 1, series.last_s
        stored = await self._client.create("events", self._object(series), namespace)
        series.name = stored["metadata"]["name"]

    def _object(self, series: Series) -> Object:
        occurrence = series.occurrence
        suffix = f"{round(series.last_s * 1e9):x}"
        component = self._source["component"]
        name = f"{occurrence.target['name']}.{suffix}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": _namespace(series)},
            "involvedObject": occurrence.target,
            "type": occurrence.type,
            "reason": occurrence.reason,
            "message": occurrence.message,
            "source": self._source,
            "reportingComponent": component,
            "reportingInstance": self._source.get("host", ""),
            "count": series.count,
            "firstTimestamp": meta.format_time(series.first_s),
            "lastTimestamp": meta.format_time(series.last_s),
        }


def _namespace(series: Series) -> str:
    return series.occurrence.target.get("namespace") or "default"


def _reference(obj: Object) -> dict[str, Any]:
    metadata = obj.get("metadata")
    if metadata is None:
        return dict(obj)
    fields = ("namespace", "name", "uid")
    reference = {name: metadata.get(name) for name in fields}
    return {"kind": obj.get("kind"), "apiVersion": obj.get("apiVersion"), **reference}
