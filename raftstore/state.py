"""The replicated state as replication sees it: apply, cut a snapshot, restore one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from raftstore import wire
from raftstore.mvcc.history import Records, record_size_bytes
from raftstore.mvcc.machine import Machine
from raftstore.watch import WatchHub

CHUNK_BYTES = 256 << 10


class ReplicatedState:
    """The state machine with the watches that follow it."""

    def __init__(self) -> None:
        self.hub = WatchHub(lambda: self.machine.store)
        self.machine = Machine(self.hub.publish)

    def apply(self, index: int, command: bytes) -> list[bytes]:
        return self.machine.apply(command)

    def cut(self) -> tuple[Any, Iterable[Any]]:
        return self.machine.dump(), chunks(self.machine.store.cut())

    def restore(self, head: Any, chunks: Iterable[Any]) -> None:
        records = [wire.key_values(of_revision) for of_revision in chain.from_iterable(chunks)]
        self.machine.load(head, records)
        self.hub.reset()


def chunks(cut: Iterator[Records]) -> Iterator[list[Records]]:
    """Records of whole revisions, some hundred kilobytes at a time."""
    for first in cut:
        chunk, size_bytes = [first], sum(map(record_size_bytes, first))
        for records in islice(cut, 10_000):
            chunk.append(records)
            size_bytes += sum(map(record_size_bytes, records))
            if size_bytes >= CHUNK_BYTES:
                break
        yield chunk
