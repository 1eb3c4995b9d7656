"""The DNS server's responder over real UDP and TCP sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any

import dnslib

from actors.seams import system_seams
from cluster.dns import zone
from cluster.dns.server import DnsServer, Responder
from cluster.dns.upstream import Upstream, servers_of

HOST = "127.77.0.10"


def many(count: int) -> zone.Zone:
    endpoints = [{"addresses": [f"127.8.{n // 250}.{n % 250 + 1}"]} for n in range(count)]
    service = {"metadata": {"namespace": "ns", "name": "db"}, "spec": {"clusterIP": "None"}}
    item = {
        "metadata": {"namespace": "ns", "labels": {zone.SERVICE_LABEL: "db"}},
        "endpoints": endpoints,
    }
    return zone.build([service], [item], "cluster.local")


async def served(known: zone.Zone | None, upstreams: list[str]) -> DnsServer:
    seams = system_seams()
    server = DnsServer()
    responder = Responder(lambda: known, Upstream(seams, upstreams))
    await server._listen(seams, HOST, 0, responder)
    return server


def port_of(server: DnsServer) -> int:
    return int(str(server.address).partition(":")[2])


async def ask(server: DnsServer, name: str, type_: str = "A", *, tcp: bool = False) -> Any:
    query = dnslib.DNSRecord.question(name, type_)
    data = await asyncio.to_thread(query.send, HOST, port_of(server), tcp, 5)
    return dnslib.DNSRecord.parse(data)


def run(test: Awaitable[None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test, 20)

    asyncio.run(limited())


def addresses(reply: Any) -> list[str]:
    return [str(record.rdata) for record in reply.rr]


def test_answers_have_a_ttl_and_rotate() -> None:
    async def test() -> None:
        server = await served(many(2), [])
        replies = [await ask(server, "DB.ns.svc.cluster.local") for _ in range(2)]
        assert addresses(replies[0]) == addresses(replies[1])[::-1]
        assert {record.ttl for record in replies[0].rr} == {30}
        await server.stop()

    run(test())


def test_missing_names_and_missing_types_are_told_apart() -> None:
    async def test() -> None:
        server = await served(many(1), [])
        missing = await ask(server, "no.ns.svc.cluster.local")
        assert missing.header.rcode == dnslib.RCODE.NXDOMAIN
        assert missing.auth[0].ttl == 5
        empty = await ask(server, "db.ns.svc.cluster.local", "AAAA")
        assert (empty.header.rcode, empty.rr) == (dnslib.RCODE.NOERROR, [])
        assert empty.auth
        await server.stop()

    run(test())


def test_a_large_answer_is_truncated_by_udp_and_whole_by_tcp() -> None:
    async def test() -> None:
        server = await served(many(100), [])
        cut = await ask(server, "db.ns.svc.cluster.local")
        assert (cut.header.tc, cut.rr) == (1, [])
        whole = await ask(server, "db.ns.svc.cluster.local", tcp=True)
        assert len(addresses(whole)) == 100
        await server.stop()

    run(test())


def test_other_names_go_to_the_next_upstream_that_answers() -> None:
    async def test() -> None:
        other = await served(many(3), [])
        dead = f"127.0.0.1:{free_port()}"
        server = await served(
            zone.build([], [], "elsewhere.local"), [dead, f"{HOST}:{port_of(other)}"]
        )
        reply = await ask(server, "db.ns.svc.cluster.local")
        assert len(addresses(reply)) == 3
        await server.stop()
        await other.stop()

    run(test())


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_without_upstreams_or_before_the_first_list_the_answer_is_a_failure() -> None:
    async def test() -> None:
        for known, name in ((many(1), "example.org"), (None, "db.ns.svc.cluster.local")):
            server = await served(known, [])
            assert (await ask(server, name)).header.rcode == dnslib.RCODE.SERVFAIL
            await server.stop()

    run(test())


def test_what_an_external_name_stands_for_is_in_the_answer() -> None:
    async def test() -> None:
        other = await served(many(2), [])
        alias = {"type": "ExternalName", "externalName": "db.ns.svc.cluster.local"}
        service = {"metadata": {"namespace": "ns", "name": "out"}, "spec": alias}
        known = zone.build([service], [], "elsewhere.local")
        server = await served(known, [f"{HOST}:{port_of(other)}"])
        reply = await ask(server, "out.ns.svc.elsewhere.local")
        assert addresses(reply)[0] == "db.ns.svc.cluster.local."
        assert len(addresses(reply)) == 3
        await server.stop()
        await other.stop()

    run(test())


def test_noise_gets_no_answer() -> None:
    async def test() -> None:
        responder = Responder(lambda: many(1), Upstream(system_seams(), []))
        reply = dnslib.DNSRecord.question("a.b").reply().pack()
        for data in (b"", b"x", b"\0" * 12, b"\xff" * 40, reply):
            assert await responder.respond(data, tcp=False) is None

    run(test())


def test_servers_are_read_from_resolv_conf() -> None:
    assert servers_of("# x\nnameserver 1.2.3.4\nsearch a\nnameserver ::1\n") == ["1.2.3.4", "::1"]
