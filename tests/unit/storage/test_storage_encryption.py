"""Secrets at rest: what the store's bytes hold, and what changing keys does to them."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.seams import system_seams
from cluster.storage import encryption
from cluster.storage.encryption import EncryptedStore, Stale, config, providers
from raftstore.testing import MemoryStore
from raftstore.types import Compare, Put, Range

SECRET, OTHER = b"/registry/secrets/ns/s", b"/registry/pods/ns/p"
PLAIN = b'{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}'


def key(name: str, letter: bytes) -> dict[str, str]:
    return {"name": name, "secret": base64.b64encode(letter * 32).decode()}


def over(store: Any, tmp_path: Path, *given: Any, resources: list[str] | None = None) -> Any:
    entry = {"resources": resources or ["secrets"], "providers": list(given)}
    document = {"kind": config.KIND, "apiVersion": config.API_VERSION, "resources": [entry]}
    path = tmp_path / "encryption.yaml"
    path.write_text(yaml.safe_dump(document))
    return EncryptedStore(store, encryption.load(str(path), system_seams()))


async def value(store: Any, at: bytes = SECRET) -> bytes:
    (kv,) = (await store.range(at)).kvs
    return kv.value


@pytest.mark.parametrize("kind", ["aesgcm", "aescbc", "secretbox"])
def test_the_store_holds_no_plaintext_of_a_secret(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        store = MemoryStore()
        safe = over(store, tmp_path, {kind: {"keys": [key("k1", b"a")]}}, {"identity": {}})
        result = await safe.txn(
            [Compare(SECRET, "create", "=", 0)],
            [Put(SECRET, PLAIN), Put(OTHER, PLAIN), Range(SECRET)],
        )
        assert result.responses[2].kvs[0].value == PLAIN
        stored = await value(store)
        assert stored.startswith(b"k8s:enc:%b:v1:k1:" % kind.encode())
        assert b"password" not in stored
        assert await value(safe) == PLAIN
        assert await value(store, OTHER) == PLAIN  # others stand as they are
        again = over(store, tmp_path, {kind: {"keys": [key("k1", b"a")]}})
        assert await value(again) == PLAIN

    asyncio.run(run())


def test_the_first_key_writes_and_all_read(tmp_path: Path) -> None:
    async def run() -> None:
        store = MemoryStore()
        await store.put(SECRET, PLAIN)
        old, new = key("old", b"o"), key("new", b"n")
        first = over(store, tmp_path, {"aesgcm": {"keys": [old]}}, {"identity": {}})
        plain = await value(first)
        assert plain == PLAIN
        assert isinstance(plain, Stale)  # it is to be written anew
        await first.put(SECRET, PLAIN)
        assert not isinstance(await value(first), Stale)
        both = over(store, tmp_path, {"aesgcm": {"keys": [new, old]}})
        assert isinstance(await value(both), Stale)
        await both.put(SECRET, await value(both))
        assert (await value(store)).startswith(b"k8s:enc:aesgcm:v1:new:")
        assert await value(over(store, tmp_path, {"aesgcm": {"keys": [new]}})) == PLAIN

    asyncio.run(run())


def test_a_value_that_no_key_opens_is_left_out_and_kept(tmp_path: Path) -> None:
    async def run() -> None:
        store = MemoryStore()
        safe = over(store, tmp_path, {"aesgcm": {"keys": [key("k", b"a")]}})
        await safe.put(SECRET, PLAIN)
        await safe.put(SECRET + b"2", PLAIN)
        moved = await value(store)
        await store.put(SECRET + b"2", moved)  # a value means nothing under another key
        found = await safe.range(b"/registry/secrets/", b"/registry/secrets0")
        assert [kv.key for kv in found.kvs] == [SECRET]
        assert await value(store, SECRET + b"2") == moved

    asyncio.run(run())


def test_watches_tell_plain_values(tmp_path: Path) -> None:
    async def run() -> None:
        store = MemoryStore()
        safe = over(store, tmp_path, {"aesgcm": {"keys": [key("k", b"a")]}})
        watch = safe.watch(b"\0", b"\0", start_revision=1)
        await safe.put(SECRET, PLAIN)
        async for batch in watch:
            if batch.events:
                assert batch.events[0].kv.value == PLAIN
                break
        await watch.aclose()

    asyncio.run(run())


def test_wildcards_choose_resources(tmp_path: Path) -> None:
    given = {"aesgcm": {"keys": [key("k", b"a")]}}
    rules = over(None, tmp_path, given, resources=["*.apps", "crontabs.example.com"]).rules
    assert rules.of(b"/registry/apps/deployments/ns/d") is not None
    assert rules.of(b"/registry/example.com/crontabs/ns/c") is not None
    assert rules.of(b"/registry/secrets/ns/s") is None
    assert rules.of(b"/registry/ranges/serviceips/1") is None
    everything = over(None, tmp_path, given, resources=["*.*"]).rules
    assert everything.of(b"/registry/secrets/ns/s") is not None
    assert everything.of(b"/registry/ranges/serviceips/1") is None


def test_a_bad_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="16, 24 or 32 bytes"):
        providers.make("aesgcm", "k", b"short", os.urandom)
    with pytest.raises(ValueError, match="of secretbox must have 32 bytes"):
        providers.make("secretbox", "k", b"s" * 16, os.urandom)
    with pytest.raises(ValueError, match="'rot13' is not supported: aesgcm, aescbc, secretbox"):
        over(None, tmp_path, {"rot13": {"keys": [key("k", b"a")]}})
    with pytest.raises(ValueError, match="only apiVersion v2 is supported"):
        over(None, tmp_path, {"kms": {"name": "a", "endpoint": "unix:///x"}})


def test_secretbox_writes_what_nacl_writes() -> None:
    """The vector of NaCl's own tests (crypto_secretbox, Bernstein)."""
    secret = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    provider = providers.make("secretbox", "k", secret, lambda size: nonce[:size])
    plain = bytes.fromhex("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc")
    sealed = provider.seal(SECRET, plain)
    assert sealed.startswith(b"k8s:enc:secretbox:v1:k:" + nonce)
    assert provider.open(SECRET, sealed) == plain
    with pytest.raises(providers.Undecryptable):
        provider.open(SECRET, sealed[:-1] + bytes([sealed[-1] ^ 1]))
