"""The provider `kms` (version 2): seeds that a plugin behind a Unix socket encrypts.

One seed writes until the plugin tells another key id; seeds that have been read are remembered, so
the plugin is asked once a seed and once a minute how it is, never once a value. If it does not
answer for WRITABLE_S nothing more is written with its key, for it may have been taken away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import grpc

from actors.seams import Seams
from cluster.storage.encryption import envelope, kms_pb2
from cluster.storage.encryption.envelope import Seed, Source
from cluster.storage.encryption.providers import START
from raftstore.errors import Unavailable

log = logging.getLogger(__name__)

SERVICE = "/v2.KeyManagementService/"
TIMEOUT_S = 3.0
HEALTHY_PROBE_S, FAILING_PROBE_S, WRITABLE_S = 60.0, 10.0, 180.0
REMEMBERED = 1000
MAX_BYTES = 1024
"""Of a key id and of an encrypted seed, as upstream."""


class KmsError(Exception):
    """The plugin does not answer, or answers what cannot be."""


class Plugin:
    """The calls of a plugin. Every failure is a KmsError."""

    def __init__(self, endpoint: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._channel = grpc.aio.insecure_channel(endpoint)

    async def close(self) -> None:
        await self._channel.close()

    async def status(self) -> str:
        """The id of the key that encrypts now."""
        answer = await self._call("Status", kms_pb2.StatusRequest(), kms_pb2.StatusResponse)
        if answer.version not in ("v2", "v2beta1"):
            raise KmsError(f"the plugin speaks version {answer.version!r}, not v2")
        if answer.healthz != "ok":
            raise KmsError(f"the plugin is not well: {answer.healthz}")
        return _checked_id(answer.key_id)

    async def encrypt(self, plain: bytes) -> Source:
        asked = kms_pb2.EncryptRequest(plaintext=plain, uid=str(uuid.uuid4()))
        answer = await self._call("Encrypt", asked, kms_pb2.EncryptResponse)
        if not 0 < len(answer.ciphertext) <= MAX_BYTES:
            raise KmsError(f"an encrypted seed must have 1 to {MAX_BYTES} bytes")
        annotations = tuple(sorted(answer.annotations.items()))
        return Source(answer.ciphertext, _checked_id(answer.key_id), annotations)

    async def decrypt(self, source: Source) -> bytes:
        asked = kms_pb2.DecryptRequest(
            ciphertext=source.encrypted,
            uid=str(uuid.uuid4()),
            key_id=source.key_id,
            annotations=dict(source.annotations),
        )
        answer = await self._call("Decrypt", asked, kms_pb2.DecryptResponse)
        return bytes(answer.plaintext)

    async def _call(self, name: str, asked: Any, kind: Any) -> Any:
        call = self._channel.unary_unary(
            SERVICE + name,
            request_serializer=type(asked).SerializeToString,
            response_deserializer=kind.FromString,
        )
        try:
            return await call(asked, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise KmsError(f"{name}: {error.code().name}: {error.details()}") from error


class Kms:
    """A provider; `start` before anything is written or read."""

    def __init__(self, name: str, plugin: Plugin, seams: Seams) -> None:
        self.prefix = START + f"kms:v2:{name}:".encode()
        self._plugin, self._random = plugin, seams.randomness.randbytes
        self._clock = seams.clock
        self._writing: Seed | None = None
        self._good_until_s = 0.0
        self._known: OrderedDict[Source, Seed] = OrderedDict()
        self._fetching: dict[Source, asyncio.Task[None]] = {}
        self._probing: asyncio.Task[None] | None = None
        self.problem = "not asked yet"

    async def start(self) -> None:
        """Learn the key that writes; a plugin that is not there yet is asked again and again."""
        await self._probe()
        self._probing = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        tasks = [*self._fetching.values(), *filter(None, [self._probing])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._plugin.close()

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(FAILING_PROBE_S if self.problem else HEALTHY_PROBE_S)
            await self._probe()

    async def _probe(self) -> None:
        """Ask how the plugin is, and have a new seed encrypted when its key has changed."""
        try:
            key_id = await self._plugin.status()
            if self._writing is None or self._writing.source.key_id != key_id:
                await self._rotate(key_id)
            self._good_until_s = self._clock.now() + WRITABLE_S
            self.problem = ""
        except KmsError as error:
            if str(error) != self.problem:
                log.warning("the KMS plugin of %s: %s", self.prefix.decode(), error)
            self.problem = str(error)

    async def _rotate(self, key_id: str) -> None:
        secret = self._random(envelope.SEED_BYTES)
        source = await self._plugin.encrypt(secret)
        if source.key_id != key_id:
            raise KmsError(f"status tells key id {key_id!r}, encryption {source.key_id!r}")
        self._writing = Seed(source, secret)
        self._remember(self._writing)
        log.info("%s writes with key id %s", self.prefix.decode(), key_id)

    # -- as a provider -----------------------------------------------------------------------

    def seal(self, key: bytes, plain: bytes) -> bytes:
        """Raises Unavailable while the plugin has not answered for too long."""
        if self._writing is None or self._clock.now() > self._good_until_s:
            raise Unavailable(f"the KMS plugin does not answer: {self.problem}")
        return self.prefix + envelope.seal(self._writing, key, plain, self._random)

    def open(self, key: bytes, sealed: bytes) -> bytes:
        source, data = envelope.source_of(sealed[len(self.prefix) :])
        return envelope.open_(self._known[source], key, data)

    def is_current(self, sealed: bytes) -> bool:
        """Whether the value stands under the seed that writes now."""
        source, _ = envelope.source_of(sealed[len(self.prefix) :])
        return self._writing is not None and source == self._writing.source

    def lacks(self, sealed: bytes) -> Source | None:
        """The source that has to be fetched before the value can be opened."""
        source, _ = envelope.source_of(sealed[len(self.prefix) :])
        if source not in self._known:
            return source
        self._known.move_to_end(source)
        return None

    async def fetch(self, source: Source) -> None:
        """Have a seed decrypted, once for all who wait. Raises Unavailable."""
        if source not in self._fetching:
            task = asyncio.get_running_loop().create_task(self._fetch(source))
            self._fetching[source] = task
            task.add_done_callback(lambda _: self._fetching.pop(source, None))
        try:
            await asyncio.shield(self._fetching[source])
        except KmsError as error:
            raise Unavailable(f"the KMS plugin cannot decrypt: {error}") from error

    async def _fetch(self, source: Source) -> None:
        self._remember(Seed(source, await self._plugin.decrypt(source)))

    def _remember(self, seed: Seed) -> None:
        self._known[seed.source] = seed
        while len(self._known) > REMEMBERED:
            with contextlib.suppress(KeyError):
                self._known.popitem(last=False)


def _checked_id(key_id: str) -> str:
    if not 0 < len(key_id) <= MAX_BYTES:
        raise KmsError(f"a key id must have 1 to {MAX_BYTES} bytes")
    return key_id


def make(described: Mapping[str, Any], seams: Seams) -> Kms:
    """From the `kms` of a configuration. Raises ValueError for one that cannot be used."""
    name, endpoint = str(described.get("name") or ""), str(described.get("endpoint") or "")
    if not name or ":" in name:
        raise ValueError(f"invalid KMS provider name {name!r}: it is required and has no colon")
    if described.get("apiVersion", "v1") != "v2":
        raise ValueError(f"KMS provider {name!r}: only apiVersion v2 is supported")
    if not endpoint.startswith("unix://"):
        raise ValueError(f"KMS provider {name!r}: endpoint must be a unix:// address")
    timeout_s = _seconds(str(described.get("timeout") or f"{TIMEOUT_S:g}s"))
    return Kms(name, Plugin(endpoint.replace("unix:///@", "unix-abstract:"), timeout_s), seams)


def _seconds(text: str) -> float:
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return float(number) * factor
    raise ValueError(f"timeout {text!r} is no duration")
