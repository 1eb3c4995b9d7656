"""Secrets whose keys a KMS plugin keeps: a real one, in another process, behind a Unix socket."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.seams import Seams, system_seams
from actors.seams.clock import SystemClock
from cluster.storage import encryption
from cluster.storage.encryption import EncryptedStore, Stale, config
from raftstore.errors import Unavailable
from raftstore.testing import MemoryStore

SECRET = b"/registry/secrets/ns/s"
PLAIN = b'{"kind":"Secret"}'


class Clock(SystemClock):
    """Nothing happens by itself: `passed_s` is added to the time, and whoever sleeps, sleeps on."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> float:
        return super().now() + self.passed_s

    async def sleep(self, delay_s: float) -> None:
        await asyncio.Event().wait()


class Plugin:
    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "kms.sock"
        self.say("key-id", "one")
        self.say("healthz", "ok")
        self._process: subprocess.Popen[str] | None = None

    def say(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().split()

    def start(self) -> None:
        script = Path(__file__).parent / "kms_plugin.py"
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(self.socket), str(self.folder)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    found = Plugin(tmp_path)
    found.start()
    yield found
    found.stop()


class Rig:
    """Encrypted stores, as several servers would have, over one store."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin, self.store, self.clock = plugin, MemoryStore(), Clock()
        system = system_seams()
        self.seams = Seams(self.clock, system.randomness, system.network, system.disk)
        self._rules: list[Any] = []

    async def server(self, *more: Any) -> Any:
        kms = {"apiVersion": "v2", "name": "outside", "endpoint": f"unix://{self.plugin.socket}"}
        entry = {"resources": ["secrets"], "providers": [{"kms": kms}, *more]}
        path = self.plugin.folder / "encryption.yaml"
        document = {"kind": config.KIND, "apiVersion": config.API_VERSION, "resources": [entry]}
        path.write_text(yaml.safe_dump(document))
        rules = encryption.load(str(path), self.seams)
        await rules.start()
        self._rules.append(rules)
        return EncryptedStore(self.store, rules)

    async def stored(self) -> bytes:
        return await value(self.store)

    async def close(self) -> None:
        for rules in self._rules:
            await rules.stop()


async def value(store: Any) -> bytes:
    (kv,) = (await store.range(SECRET)).kvs
    return bytes(kv.value)


async def opened(store: Any) -> Any:
    (kv,) = (await store.range(SECRET)).kvs
    return kv.value


def run(plugin: Plugin, test: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        rig = Rig(plugin)
        try:
            await test(rig)
        finally:
            await rig.close()

    asyncio.run(main())


def test_values_have_keys_of_their_own_and_the_plugin_is_asked_once(plugin: Plugin) -> None:
    async def test(rig: Rig) -> None:
        first = await rig.server()
        seen = set()
        for _ in range(20):
            await first.put(SECRET, PLAIN)
            assert await value(first) == PLAIN
            seen.add(await rig.stored())
        assert len(seen) == 20
        assert all(each.startswith(b"k8s:enc:kms:v2:outside:") for each in seen)
        assert plugin.calls == ["Status", "Encrypt"]
        second = await rig.server()
        found = await asyncio.gather(*(opened(second) for _ in range(10)))
        assert found == [PLAIN] * 10
        assert plugin.calls[2:] == ["Status", "Encrypt", "Decrypt"]
        assert isinstance(found[0], Stale)
        assert not isinstance(await opened(first), Stale)

    run(plugin, test)


def test_a_new_key_id_gives_a_new_seed_and_old_values_are_to_be_written_anew(
    plugin: Plugin,
) -> None:
    async def test(rig: Rig) -> None:
        server = await rig.server()
        await server.put(SECRET, PLAIN)
        before = await rig.stored()
        (provider,) = server.rules.remote
        plugin.say("key-id", "two")
        await provider._probe()
        assert isinstance(await opened(server), Stale)
        await server.put(SECRET, PLAIN)
        assert not isinstance(await opened(server), Stale)
        assert (b"one" in before, b"two" in await rig.stored()) == (True, True)
        again = await rig.server()  # reads what either has written
        assert await value(again) == PLAIN
        await rig.store.put(SECRET, before)
        assert await value(again) == PLAIN

    run(plugin, test)


def test_nothing_is_written_long_after_the_plugin_has_gone_and_reading_goes_on(
    plugin: Plugin,
) -> None:
    async def test(rig: Rig) -> None:
        server = await rig.server()
        await server.put(SECRET, PLAIN)
        (provider,) = server.rules.remote
        plugin.say("healthz", "no")
        await provider._probe()
        assert server.rules.problem == "the plugin is not well: no"
        await server.put(SECRET, PLAIN)  # for a while
        rig.clock.passed_s = 181.0
        with pytest.raises(Unavailable, match="the KMS plugin does not answer"):
            await server.put(SECRET, PLAIN)
        assert await value(server) == PLAIN
        plugin.say("healthz", "ok")
        await provider._probe()
        assert server.rules.problem == ""
        await server.put(SECRET, PLAIN)

    run(plugin, test)


def test_without_the_plugin_a_server_starts_and_says_what_is_missing(plugin: Plugin) -> None:
    async def test(rig: Rig) -> None:
        await (await rig.server()).put(SECRET, PLAIN)
        plugin.stop()
        server = await rig.server({"identity": {}})
        assert server.rules.problem.startswith("Status: UNAVAILABLE")
        with pytest.raises(Unavailable, match="the KMS plugin cannot decrypt"):
            await value(server)
        await rig.store.put(SECRET, PLAIN)
        assert await value(server) == PLAIN  # what stands plain needs no plugin

    run(plugin, test)
