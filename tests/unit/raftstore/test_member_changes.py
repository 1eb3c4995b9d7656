"""The members of a running store change by command, over real sockets."""

from __future__ import annotations

import asyncio
import importlib.util
import pathlib
import shutil
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from raftstore.client import StoreClient
from raftstore.errors import (
    BadPeerAddress,
    LearnerNotReady,
    MemberNotFound,
    MemberNotLearner,
    NotEnoughStarted,
    PeerAddressExists,
    TooManyLearners,
    UnhealthyCluster,
    UnknownOutcome,
)
from raftstore.member import Member
from raftstore.raft.membership import FolderLost, MemberRemoved
from raftstore.raft.wal import CorruptLog
from raftstore.types import ALL_FROM, Members

_spec = importlib.util.spec_from_file_location(
    "test_member_store", pathlib.Path(__file__).with_name("test_member.py")
)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
LocalStore: Any = _module.LocalStore
run: Callable[..., None] = _module.run
Scenario = Callable[[Any, StoreClient], Awaitable[None]]


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def configure(store: Any, name: str, **settings: Any) -> str:
    """A member that joins what there is; its peer address."""
    address = free_address()
    store.configs[name] = {
        **store.configs[store.names[0]],
        "name": name,
        "data_dir": str(store.folder / name),
        "peer_address": address,
        "client_address": free_address(),
        "peers": {},
        "state": "existing",
        **settings,
    }
    return address


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.02)


async def until_named(client: StoreClient, *names: str) -> Members:
    found: Members = await client.member_list()
    while not set(names) <= {member.name for member in found.members}:
        await asyncio.sleep(0.02)
        found = await client.member_list()
    return found


async def until_failed(member: Member) -> BaseException:
    while member.failure is None:
        await asyncio.sleep(0.02)
    return member.failure


async def promote(client: StoreClient, member_id: int) -> Members:
    while True:
        try:
            return await client.member_promote(member_id)
        except (LearnerNotReady, UnhealthyCluster, NotEnoughStarted):
            await asyncio.sleep(0.02)


async def grow(store: Any, client: StoreClient, name: str) -> int:
    added = (await client.member_add([configure(store, name)], learner=True)).member
    await store.start(name)
    await promote(client, added.id)
    store.endpoints.append(store.configs[name]["client_address"])
    return added.id


def voters(store: Any) -> Any:
    return store.members[store.names[0]]._node.raft.voters


def keys(member: Member) -> Any:
    return member.hub.store.keys.current(b"\0", ALL_FROM)


def test_a_member_is_added_as_learner_starts_empty_and_is_promoted(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        for number in range(60):
            await client.put(b"k%d" % number, b"x" * 1000)
        address = configure(store, "new")
        member, members = await client.member_add([address], learner=True)
        assert (member.name, member.learner, [*member.peer_addresses]) == ("", True, [address])
        assert len(members.members) == 4
        with pytest.raises(LearnerNotReady):
            await client.member_promote(member.id)
        await store.start("new")
        assert store.id("new") == member.id
        listed = await until_named(client, "new")
        assert next(m for m in listed.members if m.id == member.id).client_addresses == [
            store.configs["new"]["client_address"]
        ]
        await promote(client, member.id)
        leader = store.members[store.leader()]
        await until(lambda: _same(lambda: keys(store.members["new"]), lambda: keys(leader)))
        await store.stop(next(n for n in store.names if n != store.leader()))
        await client.put(b"a", b"three of four")

    run(tmp_path, 3, scenario, snapshot_entries=20, keep_entries=5)


async def _same(one: Callable[[], Any], other: Callable[[], Any]) -> bool:
    return bool(one() == other())


def test_what_cannot_be_changed_is_refused_and_changes_nothing(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        before = await until_named(client, *store.names)
        taken = before.members[0].peer_addresses[0]
        for work, error in [
            (client.member_add([taken], learner=True), PeerAddressExists),
            (client.member_add([]), BadPeerAddress),
            (client.member_add(["nowhere"]), BadPeerAddress),
            (client.member_add([free_address()] * 2), BadPeerAddress),
            (client.member_remove(1), MemberNotFound),
            (client.member_promote(1), MemberNotFound),
            (client.member_promote(before.members[0].id), MemberNotLearner),
            (client.member_update(1, [free_address()]), MemberNotFound),
            (client.member_update(before.members[1].id, [taken]), PeerAddressExists),
        ]:
            with pytest.raises(error):
                await work
        assert [m.id for m in (await client.member_list()).members] == [
            m.id for m in before.members
        ]
        added = (await client.member_add([free_address()], learner=True)).member
        with pytest.raises(TooManyLearners):
            await client.member_add([free_address()], learner=True)
        await client.member_remove(added.id)
        with pytest.raises(MemberNotFound):
            await client.member_remove(added.id)

    run(tmp_path, 3, scenario)


def test_the_last_member_cannot_be_removed_and_a_second_one_can_be_added(
    tmp_path: pathlib.Path,
) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        [only] = (await client.member_list()).members
        with pytest.raises(NotEnoughStarted):
            await client.member_remove(only.id)
        added = (await client.member_add([configure(store, "new")])).member
        await store.start("new")
        await until_named(client, "new")
        await until(lambda: _same(lambda: len(voters(store)), lambda: 2))
        await client.put(b"a", b"both have it")
        assert not added.learner

    run(tmp_path, 1, scenario)


def test_with_a_member_down_only_that_one_can_be_removed(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        await until_named(client, *store.names)
        down, up = [name for name in store.names if name != store.leader()]
        lost, needed = store.id(down), store.id(up)
        await store.stop(down)
        await asyncio.sleep(0.4)  # an election timeout: until then it counts as alive
        with pytest.raises(UnhealthyCluster, match="does not answer"):
            await client.member_add([free_address()], learner=True)
        with pytest.raises(UnhealthyCluster, match="1 of the 2"):
            await client.member_remove(needed)
        await client.member_remove(lost)
        await client.put(b"a", b"two are left")

    run(tmp_path, 3, scenario)


def test_a_removed_leader_stops_and_says_so_and_no_write_is_lost(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        await until_named(client, *store.names)
        written = 0

        async def write() -> None:
            nonlocal written
            while written < 200:
                await client.put(b"%d" % written, b"")
                written += 1

        writing = asyncio.create_task(write())
        leader = store.leader()
        await client.member_remove(store.id(leader))
        failure = await until_failed(store.members[leader])
        assert isinstance(failure, MemberRemoved)
        assert f"{leader} was removed" in str(failure)
        assert "replace-member" in str(failure)
        await writing
        assert (await client.range(b"\0", ALL_FROM, count_only=True)).count == 200
        assert len((await client.member_list()).members) == 2

    run(tmp_path, 3, scenario)


def test_a_member_that_was_down_when_it_was_removed_hears_of_it(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        await until_named(client, *store.names)
        down = next(name for name in store.names if name != store.leader())
        removed = store.id(down)
        await store.stop(down)
        await client.member_remove(removed)
        await store.start(down)
        assert isinstance(await until_failed(store.members[down]), MemberRemoved)
        await client.put(b"a", b"nobody was disturbed")

    run(tmp_path, 3, scenario)


def test_an_emptied_folder_is_refused_since_its_promises_are_forgotten(
    tmp_path: pathlib.Path,
) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        await until_named(client, *store.names)
        lost = next(name for name in store.names if name != store.leader())
        before = store.id(lost)
        await store.stop(lost)
        shutil.rmtree(tmp_path / lost)
        await store.start(lost)
        failure = await until_failed(store.members[lost])
        assert isinstance(failure, FolderLost)
        assert f"raykube store replace-member {lost}" in str(failure)
        await store.stop(lost)
        await client.member_remove(before)
        address = store.configs[lost]["peer_address"]
        added, members = await client.member_add([address], learner=True)
        store.configs[lost]["identity"] = {
            "cluster": f"{members.cluster_id:x}",
            "member": f"{added.id:x}",
        }
        await store.start(lost)
        await promote(client, added.id)
        assert (await store.members[lost].health()).facts["member_id"] == added.id
        assert [path.name for path in tmp_path.glob("*.replaced-*")] == [
            f"{lost}.replaced-{before:016x}"
        ]

    run(tmp_path, 3, scenario)


def test_a_member_that_was_away_follows_a_leader_that_it_does_not_know(
    tmp_path: pathlib.Path,
) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        await until_named(client, *store.names)
        away = next(name for name in store.names if name != store.leader())
        await store.stop(away)
        shutil.copytree(tmp_path / away, tmp_path / "before")
        await store.start(away)
        added = await grow(store, client, "new")
        await until_named(client, "new")
        await store.stop(away)
        shutil.rmtree(tmp_path / away)
        shutil.move(tmp_path / "before", tmp_path / away)  # as if it had been away all the time
        before = store.leader()
        await client.move_leader(added)
        await client.member_remove(store.id(before))
        await until_failed(store.members[before])
        await store.stop(before)
        await store.start(away)
        revision = (await client.put(b"a", b"1")).revision
        while store.members[away].hub.revision < revision:
            await asyncio.sleep(0.02)
        assert store.leader() == "new"

    run(tmp_path, 3, scenario)


def test_a_change_whose_outcome_is_not_known_is_told_as_such(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        members = (await until_named(client, *store.names)).members
        leader = store.leader()
        impatient = StoreClient([store.configs[leader]["client_address"]], timeout_s=2)
        await impatient.start(store.seams)
        await impatient.member_list()
        await store.stop(*(name for name in store.names if name != leader))
        removed = next(m.id for m in members if m.name not in (leader, ""))
        with pytest.raises(UnknownOutcome):
            await impatient.member_remove(removed)
        await impatient.stop()

    run(tmp_path, 3, scenario)


def test_a_damaged_log_is_refused_with_the_next_step(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        for number in range(20):
            await client.put(b"%d" % number, b"x" * 100)
        damaged = next(name for name in store.names if name != store.leader())
        await store.stop(damaged)
        [segment] = (tmp_path / damaged / "wal").glob("*.wal")
        content = bytearray(segment.read_bytes())
        content[1000] ^= 1
        segment.write_bytes(content)
        with pytest.raises(CorruptLog, match=f"raykube store replace-member {damaged}"):
            await store.start(damaged)

    run(tmp_path, 3, scenario)


def test_an_address_is_updated_and_the_member_reached_there(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        await until_named(client, *store.names)
        moving = next(name for name in store.names if name != store.leader())
        await store.stop(moving)
        address = free_address()
        listed = await client.member_list()
        member = next(m for m in listed.members if m.name == moving)
        await client.member_update(member.id, [address])
        store.configs[moving]["peer_address"] = address
        await store.start(moving)
        await store.ready(moving)
        listed = await client.member_list()
        assert next(m for m in listed.members if m.name == moving).peer_addresses == [address]

    run(tmp_path, 3, scenario)


def test_one_three_five_and_three_members_under_load_lose_nothing(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        acknowledged: list[bytes] = []

        async def write(writer: int) -> None:
            while True:
                key = b"%d/%d" % (writer, len(acknowledged))
                await client.put(key, b"x" * 100)
                acknowledged.append(key)

        await client.put(b"first", b"")
        writers = [asyncio.create_task(write(writer)) for writer in range(3)]
        ids = {"m0": store.id("m0")}
        for name in ("n1", "n2", "n3", "n4"):
            ids[name] = await grow(store, client, name)
        await until_named(client, *ids)
        for name in ("m0", store.leader() if store.leader() != "m0" else "n1"):
            await client.member_remove(ids.pop(name))
            await until_failed(store.members[name])
            await store.stop(name)
        for writer in writers:
            assert not writer.done(), writer
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        await _restart_with_old_configs(store, client, ids)
        found = await client.range(b"\0", ALL_FROM, keys_only=True)
        assert set(acknowledged) <= {kv.key for kv in found.kvs}
        assert {m.id for m in (await client.member_list()).members} == set(ids.values())
        revision = (await client.put(b"last", b"")).revision
        for name in ids:
            while store.members[name].hub.revision < revision:
                await asyncio.sleep(0.02)
            assert keys(store.members[name]) == keys(store.members[store.leader()])

    async def _restart_with_old_configs(store: Any, client: StoreClient, ids: Any) -> None:
        """Configs that name members of long ago: what is in the log counts."""
        await store.stop(*ids)
        for name in ids:
            store.configs[name] |= {"peers": {"m0": free_address()}, "state": "new"}
        await store.start(*ids)

    run(tmp_path, 1, scenario, snapshot_entries=200, keep_entries=50)
