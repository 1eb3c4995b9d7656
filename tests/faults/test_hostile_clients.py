"""Clients that send nonsense, too much, or nothing: they are told or cut off, the others served.

Against one member as a real process, so that its memory is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import random
import socket
import struct
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from actors.seams import system_seams
from raftstore import wire
from raftstore.client import StoreClient
from raftstore.errors import StoreError
from raftstore.faults.processes import StoreProcesses, free_addresses
from raftstore.service import MAX_REQUEST_BYTES
from raftstore.types import Compare, Put, Range, Txn
from raftstore.wire import Kind

PATIENCE_S = 30
MEBIBYTE = 1 << 20
Target = tuple[StoreProcesses, str]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One member with a gateway, and the gateway's address."""
    store = StoreProcesses(tmp_path_factory.mktemp("store"), 1)
    [gateway] = free_addresses(1)
    own = {"address": gateway, "endpoints": store.endpoints, "member": store.endpoints[0]}
    store.configure("m0", gateway=own, client_urls=[f"http://{gateway}"])
    store.start()
    try:
        asyncio.run(_serves(store))
        yield store, gateway
        assert store.ended() == []
        assert "Traceback" not in store.logs(), store.logs()[-3000:]
    finally:
        store.stop()


async def _serves(store: StoreProcesses) -> None:
    client = StoreClient(store.endpoints, timeout_s=PATIENCE_S)
    await client.start(system_seams())
    try:
        value = random.randbytes(8)
        await client.put(b"works", value)
        assert (await client.range(b"works")).kvs[0].value == value
    finally:
        await client.stop()


def frame_packed(packed: bytes) -> bytes:
    return struct.pack(">I", len(packed)) + packed


def frame(message: Any) -> bytes:
    return frame_packed(wire.pack(message))


def _memory_bytes(store: StoreProcesses) -> int:
    status = pathlib.Path(f"/proc/{store.pid('m0')}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) << 10


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    connection.settimeout(PATIENCE_S)
    return connection


def _rest(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    with contextlib.suppress(OSError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


# ---- nonsense

REQUESTS: list[Any] = [
    [1, "write", 0, 0, 0, wire.pack(wire.encode_op(Put(b"k", b"v")))],
    [2, "write", 0, 0, 0, wire.pack([Kind.LEASE_GRANT, 5, 0])],
    [3, "read", wire.pack(wire.encode_op(Range(b"a", b"z", limit=3))), False],
    [
        4,
        "read",
        wire.pack(wire.encode_op(Txn([Compare(b"a", "mod", "=", 1)], [Range(b"b")]))),
        True,
    ],
    [5, "watch", b"a", b"b", 1, True, ["put"]],
    [6, "cancel", 5],
    [7, "keep_alive", 77],
    [8, "ttl", 77],
    [9, "ping"],
    [10, "member_list", True],
    [11, "move_leader", 1],
    [12, "status"],
    [13, "hash_kv", 1],
    [14, "export", 0],
    [15, "progress"],
    [16, "change_members", "add", "x", [], False],
    [17, "write", 0, 0, 0, wire.pack([Kind.AUTH, "user_add", "x", "y"])],
    [18, "write", 5, 1, 0, wire.pack([Kind.TXN, [], [[Kind.PUT, b"a", b"b"]], []])],
]
NONSENSE: list[Any] = [
    None, True, -1, 0, 1 << 63, 1.5, float("nan"), b"", b"\xff", "", "range", [], [[]], {}, [None],
    {"a": 1}, [0, 1, 2, 3], b"x" * 300, -(1 << 63), [b"a", "mod", "=", {}], "\ud83d",
]  # fmt: skip


def _mutated(randomness: random.Random, message: Any) -> Any:
    """With something else in some place, at any depth, also inside of what is packed."""
    if isinstance(message, bytes) and message and randomness.random() < 0.8:
        with contextlib.suppress(Exception):
            inner = wire.unpack(message)
            if isinstance(inner, list):
                return _packed(_mutated(randomness, inner))
    if isinstance(message, list) and message and randomness.random() < 0.9:
        changed = list(message)
        position = randomness.randrange(len(changed))
        choice = randomness.random()
        if choice < 0.15:
            del changed[position]
        elif choice < 0.3:
            changed.insert(position, randomness.choice(NONSENSE))
        else:
            changed[position] = _mutated(randomness, changed[position])
        return changed
    return randomness.choice(NONSENSE)


def _packed(message: Any) -> bytes:
    try:
        return wire.pack(message)
    except (UnicodeEncodeError, OverflowError, ValueError):
        return b"\xc1"


@pytest.mark.timeout(120)
def test_nonsense_is_refused_and_hurts_nobody(target: Target) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    randomness, (store, _) = random.Random(seed), target
    for _ in range(400):
        with _connect(store.endpoints[0]) as connection, contextlib.suppress(OSError):
            for _ in range(25):
                message = _packed(_mutated(randomness, randomness.choice(REQUESTS)))
                connection.sendall(frame_packed(message))
            connection.sendall(frame([99, "ping"]))
            connection.shutdown(socket.SHUT_WR)
            _rest(connection)
    asyncio.run(_serves(store))


@pytest.mark.timeout(60)
def test_strangers_at_the_port_of_the_members_are_cut_off(target: Target) -> None:
    store, _ = target
    randomness = random.Random(2)
    greeting = [1, 5, "ab", "ab", ["m1", [], [], 0]]
    for number in range(300):
        first = randomness.choice([*NONSENSE, *REQUESTS]) if number % 2 else greeting
        with _connect(store.peers["m0"]) as connection, contextlib.suppress(OSError):
            connection.sendall(frame_packed(_packed(_mutated(randomness, first))))
            connection.sendall(frame([1, {"type": "append", "term": 1 << 40}]))
            connection.shutdown(socket.SHUT_WR)
            _rest(connection)
    asyncio.run(_serves(store))


@pytest.mark.timeout(60)
def test_bytes_that_are_no_frames_end_the_connection(target: Target) -> None:
    randomness, (store, gateway) = random.Random(1), target
    for address in (store.endpoints[0], store.peers["m0"], gateway):
        for _ in range(20):
            with _connect(address) as connection, contextlib.suppress(OSError):
                connection.sendall(b"\0\0\0\x40" + randomness.randbytes(64))
                connection.sendall(randomness.randbytes(5000))
                connection.shutdown(socket.SHUT_WR)
                _rest(connection)
    asyncio.run(_serves(store))


# ---- too much


@pytest.mark.timeout(60)
def test_a_frame_that_is_too_long_ends_the_connection_before_it_is_read(target: Target) -> None:
    store, _ = target
    for size_bytes in (MAX_REQUEST_BYTES + 1, (1 << 32) - 1):
        with _connect(store.endpoints[0]) as connection:
            connection.sendall(struct.pack(">I", size_bytes))
            assert _rest(connection) == b""
    asyncio.run(_serves(store))


@pytest.mark.timeout(60)
def test_a_client_that_takes_no_answers_costs_little_memory(target: Target) -> None:
    """It asks a thousand times for a mebibyte, and reads nothing."""
    store, _ = target

    async def scenario() -> int:
        client = StoreClient(store.endpoints)
        await client.start(system_seams())
        await client.put(b"large", b"x" * MEBIBYTE)
        await client.stop()
        before_bytes = _memory_bytes(store)
        question = wire.pack(wire.encode_op(Range(b"large")))
        with _connect(store.endpoints[0]) as connection:
            for number in range(1000):
                connection.sendall(frame([number, "read", question, number % 2 == 0]))
            await _serves(store)
            return _memory_bytes(store) - before_bytes

    assert asyncio.run(scenario()) < 64 * MEBIBYTE


@pytest.mark.timeout(60)
def test_a_watch_whose_client_reads_nothing_costs_little_memory(target: Target) -> None:
    store, _ = target

    async def scenario() -> int:
        client = StoreClient(store.endpoints)
        await client.start(system_seams())
        with _connect(store.endpoints[0]) as connection:
            for number in range(50):
                connection.sendall(frame([number, "watch", b"w", b"", 0, True, []]))
            for _ in range(20):
                await client.put(b"w", b"x" * 100_000)
            before_bytes = _memory_bytes(store)
            for _ in range(200):
                await client.put(b"w", b"x" * 100_000)
            grown_bytes = _memory_bytes(store) - before_bytes
        await client.stop()
        return grown_bytes

    assert asyncio.run(scenario()) < 200 * 100_000 * 3 + 32 * MEBIBYTE


# ---- nothing


@pytest.mark.timeout(60)
def test_a_thousand_idle_and_half_sent_connections_disturb_nobody(target: Target) -> None:
    store, gateway = target
    before_bytes = _memory_bytes(store)
    with contextlib.ExitStack() as stack:
        for number in range(400):
            for address in (store.endpoints[0], store.peers["m0"], gateway):
                connection = stack.enter_context(_connect(address))
                if number % 2:
                    connection.sendall(b"\0\0")
        asyncio.run(_serves(store))
        assert _memory_bytes(store) - before_bytes < 128 * MEBIBYTE
    asyncio.run(_serves(store))


# ---- the gateway


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xff" * 100, grpc.StatusCode.INTERNAL),
        (b"\x0a\x01k\x12" + b"\x80\x80\x60" + b"x" * 0x180000, grpc.StatusCode.INVALID_ARGUMENT),
        (b"x" * (3 << 20), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["no message", "too large for the store", "too large to be read"],
)
def test_the_gateway_tells_what_is_wrong_with_a_request(
    target: Target, body: bytes, code: grpc.StatusCode
) -> None:
    store, gateway = target
    with grpc.insecure_channel(gateway) as channel:
        put = channel.unary_unary("/etcdserverpb.KV/Put")
        with pytest.raises(grpc.RpcError) as caught:
            put(body, timeout=PATIENCE_S)
    assert caught.value.code() == code, caught.value.details()
    asyncio.run(_serves(store))


def test_what_is_refused_is_told_by_its_type(target: Target) -> None:
    store, _ = target
    with _connect(store.endpoints[0]) as connection:
        connection.sendall(frame([7, "read", wire.pack([Kind.RANGE, 1, 2]), True]))
        size_bytes = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))[0]
        request_id, *answer = wire.unpack(connection.recv(size_bytes, socket.MSG_WAITALL))
    assert request_id == 7
    with pytest.raises(StoreError, match=r"malformed|key"):
        wire.answer(answer)
