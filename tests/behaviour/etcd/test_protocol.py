"""What etcdctl cannot show: the same messages to a real etcd and to ours get the same answers.

Where we differ on purpose (docs/decisions/005) nothing is compared.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from raftstore.gateway import protocol_pb2 as pb
from raftstore.types import ALL_FROM


def _beside(name: str) -> Any:
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


clusters, raw = _beside("etcd_clusters"), _beside("raw_client")
put, read, delete, txn = raw.put, raw.read, raw.delete, raw.txn
METHODS, answers, revision = raw.METHODS, raw.answers, raw.revision
pytestmark = pytest.mark.skipif(
    not (shutil.which("etcd") and shutil.which("etcdctl")),
    reason="needs etcd and etcdctl (Debian's etcd-server and etcd-client)",
)
Client = Any
Answers = list[Any]
SHORT_QUIET_S, QUIET_S = 0.15, 0.4
"""Long enough for events that are there, and for those that etcd catches up in its next round."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Client]]:
    """A client of a member of each. Cases leave both at the same revision."""
    folder = tmp_path_factory.mktemp("clusters")
    tls = clusters.make_certificates(folder)
    clients = []
    with contextlib.ExitStack() as stack:
        for kind in (clusters.EtcdCluster, clusters.OwnCluster):
            (folder / kind.__name__).mkdir()
            cluster = kind(folder / kind.__name__, tls)
            stack.callback(cluster.stop)
            ctl = clusters.Etcdctl(cluster.endpoints, tls)
            ctl.wait_ready()
            ctl.wait_for_terms()
            clients.append(raw.RawClient(cluster.endpoints, tls))
            stack.callback(clients[-1].close)
        yield clients[0], clients[1]


def alike(both: tuple[Client, Client], case: Callable[[Client], Answers]) -> Answers:
    """The answers, which must be the same."""
    etcd, ours = map(case, both)
    differing = [pair for pair in zip(ours, etcd, strict=True) if pair[0] != pair[1]]
    assert differing == []
    return ours


def test_ranges_sort_bound_and_limit(both: tuple[Client, Client]) -> None:
    values = zip(b"cabdcab", (b"1", b"9", b"5", b"7", b"3", b"", b"5"), strict=True)
    bounds = ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")
    everything = b"r/", b"r0"
    requests = [
        *(put(b"r/" + bytes([key]), value) for key, value in values),
        *(
            read(*everything, sort_order=order, sort_target=target, limit=limit)
            for order in range(3)
            for target in range(5)
            for limit in (0, 2)
            if order or not (target and limit)
        ),
        *(read(*everything, limit=2, **{name: n}) for name in bounds for n in (1, 3, 5, 100)),
        read(*everything, count_only=True, limit=1),
        read(*everything, keys_only=True, limit=1),
        read(*everything, revision=5, limit=1),
        read(*everything, revision=5, count_only=True),
        read(*everything, revision=6, min_mod_revision=4, sort_target=4, sort_order=2, limit=1),
        read(*everything, keys_only=True, sort_target=4, sort_order=1),
        read(*everything, serializable=True, limit=1),
        *(read(*everything, limit=-1), read(*everything, revision=-1)),
        *(read(*everything, revision=999), read(*everything, revision=999, serializable=True)),
        *(read(b""), read(b"", ALL_FROM, limit=3), read(ALL_FROM, ALL_FROM, limit=3)),
        *(read(b"r/b", b"r/a"), read(b"r/a", b"r/a"), read(b"r/b", ALL_FROM, limit=1)),
    ]
    alike(both, lambda client: answers(client, *requests))


def test_single_writes(both: tuple[Client, Client]) -> None:
    requests = [
        put(b""),
        *(put(b"w", b"1", prev_kv=True), put(b"w", b"2", prev_kv=True)),
        *(put(b"w", b"x", ignore_value=True), put(b"w", ignore_value=True)),
        *(put(b"w", b"3", ignore_lease=True, lease=5), put(b"w", b"3", ignore_lease=True)),
        *(put(b"none", ignore_value=True), put(b"none", ignore_lease=True)),
        *(put(b"w", lease=77), put(b"w", lease=-3)),
        *(delete(b""), delete(b"w", b"w"), delete(b"zz", b"a"), delete(b"", ALL_FROM)),
        *(delete(b"w", prev_kv=True), delete(b"w", prev_kv=True)),
        put(b"w", ignore_value=True, ignore_lease=True),
    ]
    alike(both, lambda client: answers(client, *requests))


def test_transactions_tell_each_operation_what_it_saw(both: tuple[Client, Client]) -> None:
    b_is_b = [pb.Compare(key=b"t/2", target=pb.Compare.VALUE, value=b"b")]
    requests = [
        txn(),
        txn([put(b"t/1", b"a"), put(b"t/2", b"b"), read(b"t/1"), delete(b"t/none")]),
        txn([read(b"t/2"), delete(b"t/none"), put(b"t/3"), read(b"t/3"), delete(b"t/none")]),
        txn([read(b"t/2"), delete(b"t/none")]),
        txn([txn([put(b"t/4"), read(b"t/4")], [put(b"t/5")], b_is_b), read(b"t/4"), put(b"t/6")]),
        txn([read(b"t/2"), txn([read(b"t/2"), put(b"t/7")]), read(b"t/7")]),
        txn([txn([read(b"t/2")]), txn()]),
        txn([read(b"t/", b"t0", limit=1, sort_order=2, sort_target=2)]),
        txn([], [read(b"t/1")], [pb.Compare(key=b"none", version=1)]),
    ]
    alike(both, lambda client: answers(client, *requests))


def test_transactions_that_contradict_themselves(both: tuple[Client, Client]) -> None:
    k, gone = put(b"d"), delete(b"d")
    requests = [
        *(txn([k, k]), txn([k, gone]), txn([gone, k]), txn([gone, gone, delete(b"a", b"f")])),
        *(txn([k, txn([k])]), txn([txn([k]), txn([k])]), txn([txn([k], [k])])),
        *(txn([txn([k], [gone])]), txn([txn([k], [gone]), k]), txn([txn([k], [gone]), gone])),
        *(txn([delete(b"a", b"z"), txn([k])]), txn([txn([delete(b"a", b"e")]), k])),
        *(txn([txn([gone]), txn([k])]), txn([txn([put(b"dd")], [delete(b"d2")]), put(b"d2")])),
        *(txn([read(b"")]), txn([put(b"")]), txn([delete(b"")]), txn([], [read(b"")])),
        *(txn([txn([read(b"")])]), pb.TxnRequest(success=[pb.RequestOp()])),
        *(txn([read(b"t/2", revision=1)]), txn([read(b"t/2", revision=999)])),
        *(txn([put(b"p2", lease=9)]), txn([put(b"p3"), put(b"p4", ignore_value=True)])),
        *(txn([put(b"p5"), txn([put(b"p6", ignore_lease=True)])]), read(b"p", b"q")),
        txn([put(b"p7", b"1"), put(b"p8", b"v", ignore_value=True)]),
    ]
    alike(both, lambda client: answers(client, *requests))


def test_transactions_are_bounded_alike(both: tuple[Client, Client]) -> None:
    def nested(depth: int) -> Any:
        return txn([nested(depth - 1)]) if depth else txn([put(b"deep")])

    many = [read(b"x")] * 129
    requests = [
        *(nested(5), nested(40)),
        *(txn(many[1:]), txn(many), txn([], many), txn([], [], [pb.Compare(key=b"x")] * 129)),
        *(txn([txn(many)]), txn([txn(many[:100]), txn(many[:100])])),
        txn([put(b"m%d" % number) for number in range(128)]),
    ]
    alike(both, lambda client: answers(client, *requests))


def test_compares_of_keys_and_ranges(both: tuple[Client, Client]) -> None:
    client_free = [put(b"c/1", b"a"), put(b"c/2", b"b"), put(b"c/2", b"c")]
    targets = [
        (pb.Compare.VERSION, {"version": 1}),
        (pb.Compare.CREATE, {"create_revision": 0}),
        (pb.Compare.MOD, {"mod_revision": 2}),
        (pb.Compare.VALUE, {"value": b"b"}),
        (pb.Compare.LEASE, {"lease": 0}),
    ]
    compares = [
        pb.Compare(key=key, range_end=end, target=target, result=result, **value)
        for key, end in ((b"c/1", b""), (b"c/", b"c0"), (b"none", b""), (b"none", b"nonf"))
        for result in range(4)
        for target, value in targets
    ]
    odd = [
        *(pb.Compare(key=b"c/2"), pb.Compare(key=b"c/2", target=3), pb.Compare(key=b"")),
        *(pb.Compare(key=b"c/2", target=3, version=1), pb.Compare(key=b"c/2", value=b"1")),
    ]
    requests = [*client_free, *(txn([], [], [compare]) for compare in (*compares, *odd))]
    alike(both, lambda client: answers(client, *requests))


def test_compaction_and_hashes_of_what_is_kept(both: tuple[Client, Client]) -> None:
    def case(client: Client) -> Answers:
        before = client.ask("Maintenance/HashKV", pb.HashKVRequest()).compact_revision
        found = answers(client, put(b"c", b"1"), put(b"c", b"2"))
        now = revision(client)
        compactions = [
            pb.CompactionRequest(revision=at, physical=physical)
            for at, physical in ((now + 5, False), (-1, False), (now - 1, True), (now - 1, False))
        ]
        found += answers(client, *compactions, pb.CompactionRequest(revision=1))
        found += answers(client, pb.CompactionRequest(revision=now))
        found += answers(client, read(b"c", revision=now - 1), read(b"c", revision=now))
        found += answers(client, txn([read(b"c", revision=1)]))
        for at in (0, now, now - 1, now + 1, now + 100):
            told = client.tell("Maintenance/HashKV", pb.HashKVRequest(revision=at))
            found.append(re.sub(r"hash: \d+", "hash", told))
        return [before, *found]

    assert alike(both, case)[0] == -1


def test_fields_of_newer_versions_are_passed_over(both: tuple[Client, Client]) -> None:
    unknown = b"\xa2\x06\x03abc\xb8\x3e\x01"  # numbers 100 and 999
    requests = [put(b"u", b"1"), read(b"u"), txn([read(b"u")]), delete(b"u"), pb.AlarmRequest()]

    def case(client: Client) -> Answers:
        return [
            client.send_bytes(METHODS[type(request)][0], request.SerializeToString() + unknown)
            for request in requests
        ]

    assert "deleted: 1" in alike(both, case)[3]


def test_leases_and_their_keys(both: tuple[Client, Client]) -> None:
    def left(client: Client, lease: int, keys: bool) -> str:
        request = pb.LeaseTimeToLiveRequest(ID=lease, keys=keys)
        told = client.tell("Lease/LeaseTimeToLive", request)
        words = re.sub(r"\bTTL: \d+", "TTL", told).split(" keys: ")
        return " ".join([words[0], *sorted(words[1:])])  # in any order

    def case(client: Client) -> Answers:
        grants = (100, 77), (100, 77), (0, 78), (-5, 79), (1, 80), (9 * 10**9, 81), (9**11, 82)
        found = answers(client, *(pb.LeaseGrantRequest(TTL=ttl, ID=i) for ttl, i in grants))
        found += answers(client, *(put(b"l/%d" % number, lease=77) for number in range(3)))
        found += [left(client, lease, keys) for lease in (77, 5, 0, 81) for keys in (True, False)]
        found += sorted(client.tell("Lease/LeaseLeases").split("leases")[1:])[:1]
        found += answers(client, put(b"l/0"), put(b"l/1", lease=81))
        found += [left(client, 77, True), left(client, 81, True)]
        stream = client.keep_alive()
        stream.send(*(pb.LeaseIdRequest(ID=lease) for lease in (77, 5, 0)))
        found += stream.told(3)
        stream.close()
        revoked = (77, 77, 0, 81, 80, 79, 78)
        return found + answers(client, *(pb.LeaseIdRequest(ID=i) for i in revoked), read(b"l/0"))

    alike(both, case)


def test_alarms_and_what_they_refuse(both: tuple[Client, Client]) -> None:
    get, activate, deactivate = range(3)

    def alarms(*fields: tuple[int, int, int]) -> list[Any]:
        return [
            pb.AlarmRequest(action=a, memberID=member, alarm=kind) for a, member, kind in fields
        ]

    requests = [
        *alarms((get, 0, 0), (activate, 5, 1), (get, 0, 0), (get, 6, 1), (get, 0, 2)),
        *(put(b"a", b"1"), delete(b"a"), read(b"a"), txn([put(b"a")]), txn([read(b"a")])),
        pb.LeaseGrantRequest(TTL=10, ID=123456),
        *alarms((activate, 5, 1), (activate, 6, 1), (deactivate, 6, 2), (deactivate, 6, 1)),
        *alarms((get, 0, 0), (deactivate, 0, 1), (get, 0, 0), (deactivate, 5, 1), (get, 0, 0)),
        *alarms((deactivate, 5, 1)),
        put(b"a", b"1"),
    ]
    alike(both, lambda client: [*answers(client, *requests), client.tell("Maintenance/Defragment")])


# ---- watches


def shown(stream: Any, quiet_s: float = QUIET_S) -> list[str]:
    """All that comes until nothing does for a while, event by event, in order per watch.

    Neither how many share a response is compared nor its head (docs/decisions/005).
    """
    lines = []
    for answer in stream.until_quiet(quiet_s):
        events = [raw.shown(event) for event in getattr(answer, "events", ())]
        if events:
            lines += [f"{answer.watch_id}: {event}" for event in events]
        else:
            lines.append(raw.shown(answer))
    return sorted(lines, key=lambda line: line.partition(":")[0] if line[0].isdigit() else "")


def watching(*creates: dict[str, Any], before: Any = (), after: Any = ()) -> Any:
    """Create watches one after another between some writes; what each shows, and at last all."""

    def case(client: Client) -> Answers:
        found, stream = answers(client, *before), client.watch()
        try:
            for fields in creates:
                quiet_s = QUIET_S if "start_revision" in fields else SHORT_QUIET_S
                stream.create(**fields)
                found.append((fields, stream.told(), shown(stream, quiet_s)))
            return [*found, answers(client, *after), shown(stream)]
        finally:
            stream.close()

    return case


def test_watches_catch_up_filter_and_tell_what_was_before(both: tuple[Client, Client]) -> None:
    start = revision(both[0]) + 1
    key = {"key": b"w/1"}
    case = watching(
        {"key": b"w/", "range_end": b"w0"},
        {**key, "prev_kv": True, "start_revision": start},
        {**key, "start_revision": start + 2, "filters": [pb.WatchCreateRequest.NOPUT]},
        {**key, "start_revision": start, "filters": [pb.WatchCreateRequest.NODELETE]},
        {**key, "start_revision": start, "filters": [0, 1]},
        {**key, "start_revision": start + 100},
        {**key, "start_revision": start + 5},
        {**key, "prev_kv": True},
        before=[
            *(put(b"w/1", b"a"), put(b"w/1", b"b"), delete(b"w/1"), delete(b"w/1"), put(b"other")),
            *(txn([put(b"w/2"), put(b"w/3"), read(b"w/2")]), delete(b"w/", b"w0")),
        ],
        after=[
            *(put(b"w/1", b"z"), txn([put(b"w/1", b"y"), put(b"w/4"), delete(b"w/none")])),
            *(pb.LeaseGrantRequest(TTL=100, ID=900), put(b"w/1", b"l", lease=900)),
            pb.LeaseIdRequest(ID=900),
        ],
    )
    alike(both, case)


def test_clients_choose_ids_of_watches(both: tuple[Client, Client]) -> None:
    ids = (5, 5, 0, 0, 1, 3, 0, 0, -7, 2**40)
    creates = [{"key": b"i", "watch_id": watch_id} for watch_id in ids]
    spans = (b"", b""), (b"", ALL_FROM), (b"z", b"a"), (b"z", b"z")
    creates += [{"key": key, "range_end": end} for key, end in spans]
    alike(both, watching(*creates, after=[put(b"i", b"1")]))


def test_a_cancelled_watch_shows_no_more_and_its_id_is_free(both: tuple[Client, Client]) -> None:
    def case(client: Client) -> Answers:
        stream = client.watch()
        try:
            stream.create(key=b"x", watch_id=5)
            stream.create(key=b"x", watch_id=6)
            found = stream.told(2)
            stream.cancel(5)
            found += stream.told(1)
            stream.cancel(5)
            stream.cancel(77)
            stream.send(pb.WatchRequest())
            found += answers(client, put(b"x")) + stream.told(1)
            stream.create(key=b"x", watch_id=5)
            return found + stream.told(1) + shown(stream, SHORT_QUIET_S)
        finally:
            stream.close()

    alike(both, case)


def test_a_watch_of_what_is_compacted_is_cancelled_and_tells_since_when(
    both: tuple[Client, Client],
) -> None:
    start = revision(both[0]) + 1
    case = watching(
        *({"key": b"k", "start_revision": at} for at in (start, start + 1, start + 2)),
        {"key": b"k", "start_revision": 1, "watch_id": 50},
        before=[
            *(put(b"k", b"1"), put(b"k", b"2"), put(b"k", b"3")),
            pb.CompactionRequest(revision=start + 1),
        ],
        after=[put(b"k", b"4")],
    )
    assert f"compact_revision: {start + 1}" in str(alike(both, case))


def test_progress_is_told_when_asked_for(both: tuple[Client, Client]) -> None:
    def case(client: Client) -> Answers:
        stream = client.watch()
        try:
            stream.ask_progress()
            found = stream.told()
            stream.create(key=b"p")
            found += stream.told()
            stream.ask_progress()
            found += stream.told() + answers(client, put(b"q"), put(b"p")) + stream.told()
            stream.ask_progress()
            found += stream.told()
            stream.create(key=b"p", start_revision=10**6)
            found += stream.told()
            stream.ask_progress()
            return found + stream.told()
        finally:
            stream.close()

    alike(both, case)


def test_events_beyond_the_size_of_a_message_come_in_fragments(both: tuple[Client, Client]) -> None:
    def case(client: Client) -> Answers:
        large = [txn([put(b"f/%d" % key, b"x" * 700_000) for key in range(2)]) for _ in range(3)]
        assert len(answers(client, *large)) == 3
        now, stream = revision(client), client.watch()
        try:
            span = {"key": b"f/", "range_end": b"f0", "prev_kv": True}
            stream.create(**span, start_revision=now - 1, fragment=True)
            stream.take()
            parts = [*stream.until_quiet(1.0)]
            sizes = [part.ByteSize() for part in parts]
            assert max(sizes) < 3 << 20
            assert [part.fragment for part in parts][-1] is False
            stream.create(**span, start_revision=now - 1)
            stream.take()
            whole = [*stream.until_quiet(1.0)]
            assert not any(part.fragment for part in whole)
            events = [[e for part in found for e in part.events] for found in (parts, whole)]
            assert events[0] == events[1]
            return [len(parts), *((e.kv.key, e.prev_kv.mod_revision) for e in events[0])]
        finally:
            stream.close()

    alike(both, case)


# ---- users; last, for nobody else can speak to the clusters meanwhile


def grant(kind: int, key: bytes, range_end: bytes = b"") -> Any:
    permission = pb.Permission(permType=kind, key=key, range_end=range_end)
    return pb.AuthRoleGrantPermissionRequest(name="r", perm=permission)


def prepare_users(client: Client) -> Answers:
    """Users root, ann (of role r) and bob (of none)."""
    user, role, name = pb.AuthUserAddRequest, pb.AuthUserRoleRequest, pb.AuthNameRequest
    found = answers(client, pb.AuthenticateRequest(name="root", password="root"))
    found += answers(client, *(user(name=n, password=n) for n in ("root", "ann", "bob", "")))
    found += [client.tell("Auth/RoleAdd", name(name=n)) for n in ("r", "", "r")]
    grants = grant(0, b"a", b"c"), grant(1, b"b", b"d"), grant(2, b"m"), grant(0, b"z", ALL_FROM)
    found += answers(client, *grants, grant(2, b"m"), grant(0, b"y", b"x"))
    given = [("ann", "r"), ("ann", "r"), ("root", "root"), ("root", "none"), ("none", "r")]
    found += answers(client, *(role(user=u, role=r) for u, r in given))
    found += answers(client, pb.LeaseGrantRequest(TTL=1000, ID=31), put(b"q", lease=31), put(b"b"))
    return [*found, client.tell("Auth/RoleGet", name(name="r")), client.tell("Auth/AuthEnable")]


def token(client: Client, user: str, password: str) -> str:
    client.token = ""
    found: str = client.ask(
        "Auth/Authenticate", pb.AuthenticateRequest(name=user, password=password)
    ).token
    return found


def test_users_do_what_their_roles_permit_as_long_as_their_password_stays(
    both: tuple[Client, Client],
) -> None:
    name = pb.AuthNameRequest
    requests = [
        *(read(b"a", b"c"), read(b"a", b"d"), read(b"b"), read(b"m"), read(b"y", ALL_FROM)),
        *(put(b"b", prev_kv=True), put(b"c", prev_kv=True), put(b"c"), put(b"a"), put(b"m")),
        *(delete(b"b", b"d"), delete(b"b", b"d", prev_kv=True), delete(b"a", b"d")),
        txn([put(b"b")], [read(b"a")], [pb.Compare(key=b"a")]),
        *(txn([put(b"b")], [], [pb.Compare(key=b"q")]), txn([put(b"b"), read(b"c")])),
        *(put(b"b", b"1", lease=31), put(b"b", ignore_value=True), put(b"m", b"1", lease=31)),
        pb.LeaseGrantRequest(TTL=50, ID=32),
        *(pb.LeaseIdRequest(ID=31), pb.LeaseIdRequest(ID=32), pb.CompactionRequest(revision=2)),
    ]
    asked = [
        *(("UserList", None), ("UserGet", name(name="ann")), ("UserGet", name(name="bob"))),
        *(("RoleGet", name(name="r")), ("RoleList", None), ("AuthDisable", None)),
    ]

    def case(client: Client) -> Answers:
        found = prepare_users(client)
        found += answers(client, read(b"a"), pb.AuthenticateRequest(name="ann", password="bob"))
        found += answers(client, pb.AuthenticateRequest(name="none"))
        for client.token in ("nonsense", "nonsense.12"):
            found += answers(client, read(b"a"), put(b"a"))
        tokens = {user: token(client, user, user) for user in ("root", "ann", "bob")}

        def as_user(user: str, *requests: Any) -> Answers:
            client.token = tokens[user]
            return [user, *answers(client, *requests)]

        found += as_user("ann", *requests) + [client.tell(f"Auth/{m}", r) for m, r in asked]
        found += as_user("root", pb.AuthUserRoleRequest(user="bob", role="r"))
        found += as_user("ann", read(b"b"), put(b"b")) + as_user("bob", read(b"b"), put(b"b"))
        found += as_user("root", pb.AuthUserChangePasswordRequest(name="bob", password="new"))
        found += as_user("bob", read(b"b"), put(b"b")) + as_user("ann", read(b"b"), put(b"b"))
        found += [*as_user("root"), client.tell("Auth/UserDelete", name(name="ann"))]
        found += as_user("ann", read(b"b"), put(b"b"))
        tokens["bob"] = token(client, "bob", "new")
        found += as_user("bob", read(b"b"))
        found += [*as_user("root"), client.tell("Auth/RoleDelete", name(name="r"))]
        found += as_user("bob", read(b"b")) + as_user("root")
        found.append(client.tell("Auth/UserDelete", name(name="root")))
        found.append(client.tell("Auth/AuthDisable"))
        client.token = ""
        return found + answers(client, read(b"b"))

    assert "UNAUTHENTICATED: etcdserver: invalid auth token" in alike(both, case)
