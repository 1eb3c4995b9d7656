"""A store whose values are encrypted on the way in and decrypted on the way out."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

from cluster.storage.encryption.config import Rules, is_remote
from cluster.storage.encryption.providers import START, Identity, Undecryptable
from raftstore.errors import Unavailable, UnknownOutcome
from raftstore.types import (
    Compare,
    Event,
    KeyValue,
    Op,
    Put,
    RangeResult,
    Result,
    Store,
    TxnResult,
    WatchBatch,
)

log = logging.getLogger(__name__)


class Stale(bytes):
    """The plain value of what stands there under another key than the one that writes now."""


class EncryptedStore:
    """The calls of `Store` that the storage layer makes; every other one goes through as it is.

    A value that no key opens is left out of answers, and logged: it stays in the store, and one
    of them does not keep the server from serving all others.
    """

    def __init__(self, store: Store, rules: Rules) -> None:
        """`rules` are started, and may be exchanged at any time."""
        self._store, self.rules = store, rules
        self._told: set[bytes] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def range(self, key: bytes, range_end: bytes = b"", **options: Any) -> RangeResult:
        result = await self._store.range(key, range_end, **options)
        await self._fetch(result.kvs)
        return self._opened(result)

    async def put(self, key: bytes, value: bytes, **options: Any) -> Any:
        return await self._store.put(key, self._sealed(key, value), **options)

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        sealed = [self._sealed_op(op) for op in success]
        result = await self._store.txn(compare, sealed, [self._sealed_op(op) for op in failure])
        try:
            for response in result.responses:
                await self._fetch(response.kvs if isinstance(response, RangeResult) else ())
        except Unavailable as error:  # what is written is written
            raise UnknownOutcome(str(error)) from error
        return result._replace(responses=[self._opened_result(r) for r in result.responses])

    async def watch(
        self, key: bytes, range_end: bytes = b"", **options: Any
    ) -> AsyncGenerator[WatchBatch, None]:
        watch = self._store.watch(key, range_end, **options)
        try:
            async for batch in watch:
                await self._fetch([event.kv for event in batch.events if event.type == "put"])
                yield self._opened_batch(batch)
        finally:
            await watch.aclose()

    # -- in ----------------------------------------------------------------------------------

    def _sealed(self, key: bytes, value: bytes) -> bytes:
        providers = self.rules.of(key)
        return value if providers is None else providers[0].seal(key, value)

    def _sealed_op(self, op: Op) -> Op:
        return op._replace(value=self._sealed(op.key, op.value)) if isinstance(op, Put) else op

    # -- out ---------------------------------------------------------------------------------

    async def _fetch(self, found: Iterable[KeyValue]) -> None:
        """What has to be asked for before these can be opened. Raises Unavailable."""
        if not self.rules.remote:
            return
        for kv in found:
            for provider in self.rules.of(kv.key) or ():
                if not is_remote(provider) or not kv.value.startswith(provider.prefix):
                    continue
                with contextlib.suppress(Undecryptable):
                    source = provider.lacks(kv.value)
                    if source is not None:
                        await provider.fetch(source)

    def _opened_result(self, result: Result) -> Result:
        return self._opened(result) if isinstance(result, RangeResult) else result

    def _opened(self, result: RangeResult) -> RangeResult:
        if not any(self._concerns(kv) for kv in result.kvs):
            return result
        return result._replace(kvs=list(self._opened_all(result.kvs)))

    def _opened_all(self, found: Iterable[KeyValue]) -> Iterable[KeyValue]:
        for kv in found:
            opened = self._opened_kv(kv)
            if opened is not None:
                yield opened

    def _opened_batch(self, batch: WatchBatch) -> WatchBatch:
        if not any(event.type == "put" and self._concerns(event.kv) for event in batch.events):
            return batch
        events: list[Event] = []
        for event in batch.events:
            kv = self._opened_kv(event.kv) if event.type == "put" else event.kv
            if kv is not None:
                events.append(event._replace(kv=kv))
        return batch._replace(events=events)

    def _concerns(self, kv: KeyValue) -> bool:
        return kv.value.startswith(START) or self.rules.of(kv.key) is not None

    def _opened_kv(self, kv: KeyValue) -> KeyValue | None:
        providers = self.rules.of(kv.key) or (Identity(),)
        for position, provider in enumerate(providers):
            plain = isinstance(provider, Identity)
            if plain == kv.value.startswith(START) or not kv.value.startswith(provider.prefix):
                continue
            try:
                value = provider.open(kv.key, kv.value)
            except Undecryptable:
                continue  # two keys may have one name
            stale = position or (is_remote(provider) and not provider.is_current(kv.value))
            return kv._replace(value=Stale(value) if stale else value)
        if kv.key not in self._told:
            self._told.add(kv.key)
            log.error("no key opens %s: it is left out", kv.key.decode("utf-8", "replace"))
        return None
