"""Members and clients over real sockets, in this process."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import pathlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.seams import Seams, system_seams
from actors.seams.disk import File, SystemDisk
from raftstore.client import StoreClient
from raftstore.errors import (
    Compacted,
    InvalidRequest,
    LeaseNotFound,
    MemberNotFound,
    NoSpace,
    Unavailable,
    UnknownOutcome,
)
from raftstore.member import Member
from raftstore.state import ReplicatedState
from raftstore.testing import MemoryStore
from raftstore.types import ALL_FROM, Compare, HashKv, Put, Range

PATIENCE_S = 20


class LocalStore:
    def __init__(
        self, folder: pathlib.Path, members: int, disk: SystemDisk | None = None, **settings: Any
    ) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2 * members)]
        addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
        for s in sockets:
            s.close()
        self.folder, self.endpoints = folder, addresses[members:]
        self.names = [f"m{i}" for i in range(members)]
        peers = dict(zip(self.names, addresses, strict=False))
        self.configs = {
            name: {
                "name": name,
                "data_dir": str(folder / name),
                "peer_address": peers[name],
                "client_address": client_address,
                "peers": peers,
                "tls": None,
                "election_timeout_s": [0.3, 0.6],
                "heartbeat_s": 0.05,
                **settings,
            }
            for name, client_address in zip(self.names, self.endpoints, strict=True)
        }
        self.members: dict[str, Member] = {}
        self.seams: Seams = system_seams()
        if disk is not None:
            self.seams = dataclasses.replace(self.seams, disk=disk)

    async def start(self, *names: str) -> None:
        for name in names or self.names:
            self.members[name] = Member()
            await self.members[name].start(self.seams, self.configs[name])

    async def stop(self, *names: str) -> None:
        for name in names or list(self.members):
            await self.members.pop(name).stop()

    async def ready(self, name: str) -> None:
        while not (await self.members[name].health()).ready:
            await asyncio.sleep(0.01)

    def id(self, name: str) -> int:
        return self.members[name]._members.own_id

    def leader(self) -> str:
        return next(n for n, m in self.members.items() if m._node and m._node.raft.is_leader)


Scenario = Callable[[LocalStore, StoreClient], Awaitable[None]]


def run(folder: pathlib.Path, members: int, scenario: Scenario, **settings: Any) -> None:
    async def main() -> None:
        store = LocalStore(folder, members, **settings)
        client = StoreClient(store.endpoints, settings.get("tls"), timeout_s=5)
        try:
            await store.start()
            await client.start(store.seams)
            async with asyncio.timeout(PATIENCE_S):
                await scenario(store, client)
        finally:
            await client.stop()
            await store.stop()

    asyncio.run(main())


async def _use(store: Any) -> list[Any]:
    """Operations whose results must be the same for every implementation of `Store`."""
    seen: list[Any] = [await store.put(b"a", b"1"), await store.put(b"a", b"2", prev_kv=True)]
    seen.append(
        await store.txn([Compare(b"a", "value", "=", b"2")], [Put(b"b", b"x"), Range(b"a")])
    )
    seen.append(await store.range(b"\0", ALL_FROM, limit=1))
    seen.append(await store.range(b"\0", ALL_FROM, revision=2, serializable=True))
    seen.append(await store.txn([], [Range(b"a"), Range(b"b")]))
    lease = await store.lease_grant(60, 77)
    seen += [lease, await store.put(b"leased", b"", lease=77), await store.lease_keep_alive(77)]
    await store.lease_revoke(77)
    seen.append((await store.lease_time_to_live(77)).ttl_s)
    seen.append(await store.delete(b"a", ALL_FROM, prev_kv=True))
    watch = store.watch(b"\0", ALL_FROM, start_revision=2, prev_kv=True)
    while not seen[-1:] or getattr(seen[-1], "revision", 0) < 7 or seen[-1][1] == 2:
        seen.append(await anext(watch))
    await watch.aclose()
    await store.compact(4)
    for work, error in [
        (store.range(b"a", revision=3), Compacted),
        (store.put(b"a", b"", lease=77), LeaseNotFound),
        (store.txn([], [Put(b"a", b""), Put(b"a", b"")]), InvalidRequest),
        (store.lease_keep_alive(77), LeaseNotFound),
        (anext(store.watch(b"a", start_revision=2)), Compacted),
    ]:
        with pytest.raises(error) as caught:
            await work
        seen.append(str(caught.value))
    return seen


def test_leadership_moves_to_the_member_that_is_asked_for(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        await client.put(b"a", b"1")
        target = next(name for name in store.names if name != store.leader())
        await client.move_leader(store.id(target))
        assert store.leader() == target
        previous = (await client.put(b"a", b"2", prev_kv=True)).prev_kv
        assert previous is not None
        assert previous.value == b"1"
        await client.move_leader(store.id(target))
        with pytest.raises(MemberNotFound):
            await client.move_leader(1)
        await store.ready(next(name for name in store.names if name != target))
        assert store.id(target) in {status.leader_id for status in await client.status()}

    run(tmp_path, 3, scenario)


def test_the_members_are_listed_with_their_addresses(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        await client.put(b"a", b"1")
        listed = await client.member_list()
        while not all(member.client_addresses for member in listed.members):
            listed = await client.member_list()
        assert listed == await client.member_list(linearizable=False)
        found = [(m.name, [*m.peer_addresses], [*m.client_addresses]) for m in listed.members]
        assert sorted(found) == [
            (name, [store.configs[name]["peer_address"]], [store.configs[name]["client_address"]])
            for name in store.names
        ]

    run(tmp_path, 3, scenario)


def test_a_leader_that_stops_hands_over_and_no_write_fails(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        async def write() -> None:
            for number in range(100):
                await client.put(b"k", b"%d" % number)

        await client.put(b"k", b"")
        writing = asyncio.create_task(write())
        await asyncio.sleep(0)
        await store.stop(store.leader())
        assert store.leader()
        await writing
        assert (await client.range(b"k")).kvs[0].value == b"99"

    run(tmp_path, 3, scenario, election_timeout_s=[2.0, 4.0])


def test_client_and_memory_store_answer_alike(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        assert await _use(client) == await _use(MemoryStore())

    run(tmp_path, 1, scenario)


def test_health_is_ready_when_a_leader_is_known_and_all_is_applied(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        result = await client.put(b"k", b"v")
        for name in store.names:
            await store.ready(name)
            facts = (await store.members[name].health()).facts
            assert facts["leader"] == store.leader()
            assert facts["term"] >= 1
        assert (await store.members[store.leader()].health()).facts["revision"] == result.revision
        await store.stop(*[n for n in store.names if n != store.leader()])
        [last] = store.members.values()
        while (await last.health()).ready:
            await asyncio.sleep(0.05)

    run(tmp_path, 3, scenario)


def test_writes_are_refused_as_unavailable_or_unknown_without_a_majority(
    tmp_path: pathlib.Path,
) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        await client.put(b"k", b"v")
        await store.stop(*[n for n in store.names if n != store.leader()])
        quick = StoreClient(store.endpoints, timeout_s=0.5)
        await quick.start(store.seams)
        with pytest.raises((Unavailable, UnknownOutcome)):
            await quick.put(b"k", b"w")
        await quick.stop()
        serial = store.members[next(iter(store.members))]
        assert serial.hub.store.keys.get(b"k") is not None

    run(tmp_path, 3, scenario)


def test_a_lease_is_never_expired_early_and_restarts_with_a_new_leader(
    tmp_path: pathlib.Path,
) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        loop = asyncio.get_running_loop()
        lease = await client.lease_grant(1)
        await client.put(b"k", b"", lease=lease.id)
        await asyncio.sleep(0.6)
        await client.lease_keep_alive(lease.id)
        await store.stop(store.leader())
        await client.put(b"other", b"")
        renewed_s = loop.time()
        await client.lease_keep_alive(lease.id)
        while (await client.range(b"k")).kvs:
            await asyncio.sleep(0.02)
        assert 1.0 <= loop.time() - renewed_s < 2.0
        with pytest.raises(LeaseNotFound):
            await client.lease_keep_alive(lease.id)

    run(tmp_path, 3, scenario)


def test_a_write_repeated_after_its_answer_was_lost_is_executed_once(
    tmp_path: pathlib.Path,
) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        await client.put(b"k", b"0")
        for number in range(1, 20):
            write = asyncio.ensure_future(client.put(b"k", b"%d" % number))
            await asyncio.sleep(0.001 * (number % 4))
            for connection in list(store.members[store.leader()]._connections):
                connection.abort()
            assert (await write).revision == number + 2
        assert (await client.range(b"k")).kvs[0].version == 20

    run(tmp_path, 1, scenario)


class FailingDisk(SystemDisk):
    """Syncs of files fail once told to."""

    fails = False

    def open(self, path: str, *, create: bool = False) -> File:
        disk, file = self, super().open(path, create=create)
        sync = file.sync

        def sync_or_fail() -> None:
            if disk.fails:
                raise OSError(5, "Input/output error")
            sync()

        file.sync = sync_or_fail  # type: ignore[method-assign]
        return file


def test_a_failed_sync_stops_the_member_and_acknowledges_nothing(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        await client.put(b"k", b"v")
        disk.fails = True
        quick = StoreClient(store.endpoints, timeout_s=0.5)
        await quick.start(store.seams)
        with pytest.raises((Unavailable, UnknownOutcome)):
            await quick.put(b"k", b"w")
        await quick.stop()
        member = store.members["m0"]
        assert member.failed
        health = await member.health()
        assert (health.ready, "Input/output error" in health.detail) == (False, True)

    disk = FailingDisk()
    run(tmp_path, 1, scenario, disk=disk)


def test_a_full_store_refuses_puts_and_still_deletes(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        puts = [client.put(b"%d" % number, b"x" * 1000) for number in range(100)]
        results = [await asyncio.gather(put, return_exceptions=True) for put in puts]
        refused = [isinstance(result, NoSpace) for [result] in results]
        assert refused == sorted(refused)
        assert any(refused)
        assert not refused[10]
        await client.delete(b"0", ALL_FROM)
        await client.compact((await client.range(b"0")).revision)
        with pytest.raises(NoSpace):
            await client.put(b"k", b"would fit, but the alarm stands")
        [alarm] = await client.alarm_list()
        assert alarm.kind == "nospace"
        await client.alarm_clear(*alarm)
        await client.put(b"k", b"fits again")

    run(tmp_path, 1, scenario, quota_bytes=20_000)


def test_a_reader_slower_than_the_writes_misses_nothing(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        watch = client.watch(b"k", start_revision=2)
        number = 3000
        await client.put(b"k", b"v")
        revisions = [(await anext(watch)).revision]
        await asyncio.gather(*(client.put(b"k", b"v" * 500) for _ in range(number)))
        while revisions[-1] < number + 2:
            batch = await anext(watch)
            revisions += [batch.revision] * bool(batch.events)
        assert revisions == list(range(2, number + 3))
        await watch.aclose()

    run(tmp_path, 1, scenario)


def _issue(folder: pathlib.Path, authority: Any, name: str, organization: str) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_key, issuer = authority or (key, None)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        import ipaddress

        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    paths = {"cert": folder / f"{name}.crt", "key": folder / f"{name}.key"}
    paths["cert"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths["key"].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    _issue.last = (key, certificate)  # type: ignore[attr-defined]
    return {"ca": str(folder / "ca.crt"), **{k: str(p) for k, p in paths.items()}}


def test_with_tls_only_certificates_of_the_stores_organization_are_served(
    tmp_path: pathlib.Path,
) -> None:
    _issue(tmp_path, None, "ca", "test")
    authority = _issue.last  # type: ignore[attr-defined]
    good = _issue(tmp_path, authority, "store", "store")
    stranger = _issue(tmp_path, authority, "kubelet", "system:nodes")

    async def scenario(store: LocalStore, client: StoreClient) -> None:
        assert (await client.put(b"k", b"v")).revision == 2
        refused = StoreClient(store.endpoints, stranger, timeout_s=0.5)
        await refused.start(store.seams)
        with pytest.raises(Unavailable):
            await refused.range(b"k")
        await refused.stop()

    run(tmp_path, 3, scenario, tls=good)


def test_members_agree_on_the_hash_and_leases_are_listed(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        assert await client.lease_list() == []
        lease = await client.lease_grant(60)
        for number in range(20):
            await client.put(b"k%d" % (number % 3), b"%d" % number, lease=lease.id)
        await client.compact(10)
        assert await client.lease_list() == [lease.id]
        for endpoint in store.endpoints:
            async with client.member(endpoint) as member:
                while (hashed := await member.hash_kv()).revision < 21:
                    await asyncio.sleep(0.01)
                assert (hashed.compact_revision, hashed.revision) == (10, 21)
                hashes.add((hashed, await member.hash_kv(15)))
        [(at_21, at_15)] = hashes
        assert at_21 != at_15
        await client.put(b"k", b"later")
        async with client.member(store.endpoints[0]) as member:
            assert await member.hash_kv(15) == at_15
            with pytest.raises(Compacted):
                await member.hash_kv(9)

    hashes: set[tuple[HashKv, HashKv]] = set()
    run(tmp_path, 3, scenario)


def test_an_export_is_the_state_at_one_moment(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        for number in range(300):
            await client.put(b"k%03d" % number, b"x" * 3000)
        async with client.member(store.endpoints[0]) as member:
            pieces = member.export()
            head = await anext(pieces)
            await client.put(b"later", b"")
            chunks = [piece async for piece in pieces]
        assert head[0] == 301
        assert len(chunks) > 2
        copy = ReplicatedState()
        copy.restore(head, chunks)
        found = copy.machine.read(Range(b"k", ALL_FROM))
        assert found.kvs == list((await client.range(b"k", ALL_FROM, revision=301)).kvs)

    run(tmp_path, 1, scenario)


def test_a_watch_leaves_out_what_it_filters_and_tells_progress_when_asked(
    tmp_path: pathlib.Path,
) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        watch = client.watch(b"k", filters=["delete"])
        past = client.watch(b"j", ALL_FROM, start_revision=2, filters=["put"])
        assert not (await anext(watch)).events
        await client.put(b"k", b"1")
        await client.delete(b"k")
        await client.put(b"k", b"2")
        assert [(await anext(watch)).revision for _ in range(2)] == [2, 4]
        assert [e.type for e in (await anext(past)).events] == ["delete"]
        await client.put(b"other", b"")
        await client.request_progress()
        for each in (watch, past):
            assert await anext(each) == (5, [])
        await watch.aclose()
        await past.aclose()

    run(tmp_path, 1, scenario)


def test_a_member_compacts_by_itself(tmp_path: pathlib.Path) -> None:
    async def scenario(store: LocalStore, client: StoreClient) -> None:
        for _ in range(3):
            await client.put(b"k", b"v")
        async with asyncio.timeout(PATIENCE_S):
            async with client.member(store.endpoints[0]) as member:
                while (await member.hash_kv()).compact_revision != 4:
                    await asyncio.sleep(0.02)

    run(tmp_path, 1, scenario, compaction={"mode": "periodic", "retention": 0.2})
