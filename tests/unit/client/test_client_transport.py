from __future__ import annotations

import asyncio
import socket

import pytest

from actors.seams import system_seams
from cluster.client import Client, ClientConfig, UnknownOutcome, Unreachable, transport
from cluster.machinery.status import ApiError


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_requests_one_after_the_other_share_one_connection(with_server, http_answer):
    async def handler(method, path, query, headers, body, writer):
        http_answer(writer, 200, {"path": path})

    async def test(http, client):
        for name in ("a", "b", "c"):
            found = await client.get("pods", name, "ns")
            assert found == {"path": f"/api/v1/namespaces/ns/pods/{name}"}
        assert (http.connections, http.requests) == (1, 3)

    with_server(handler, test)


def test_many_requests_at_once_use_a_bounded_number_of_connections(with_server, http_answer):
    async def handler(method, path, query, headers, body, writer):
        await asyncio.sleep(0.001)
        http_answer(writer, 200, {})

    async def test(http, client):
        await asyncio.gather(*(client.get("pods", f"p{n}", "ns") for n in range(200)))
        assert http.requests == 200
        assert http.connections <= 32

    with_server(handler, test)


def test_a_refused_connection_is_unreachable():
    async def run():
        config = ClientConfig((f"http://127.0.0.1:{free_port()}",))
        client = Client(config, system_seams())
        with pytest.raises(Unreachable):
            await client.create("pods", {"metadata": {"name": "a"}}, "ns")
        await client.close()

    asyncio.run(run())


def test_a_write_that_gets_no_answer_has_an_unknown_outcome_and_is_not_repeated(with_server):
    async def handler(method, path, query, headers, body, writer):
        return "close"

    async def test(http, client):
        with pytest.raises(UnknownOutcome):
            await client.create("pods", {"metadata": {"name": "a"}}, "ns")
        assert http.requests == 1

    with_server(handler, test)


def test_a_silent_server_times_out_with_an_unknown_outcome(with_server):
    async def handler(method, path, query, headers, body, writer):
        await asyncio.sleep(60)

    async def test(http, client):
        client.timeout_s = 0.05
        with pytest.raises(UnknownOutcome):
            await client.create("pods", {"metadata": {"name": "a"}}, "ns")

    with_server(handler, test)


def test_another_server_answers_when_one_is_gone(http_server, http_answer):
    async def handler(method, path, query, headers, body, writer):
        http_answer(writer, 201, {"made": True})

    async def run():
        async with http_server(handler) as http:
            urls = (f"http://127.0.0.1:{free_port()}", http.url)
            for _ in range(8):
                client = Client(ClientConfig(urls), system_seams())
                made = await client.create("pods", {"metadata": {"name": "a"}}, "ns")
                assert made == {"made": True}
                await client.close()

    asyncio.run(run())


def test_a_read_goes_to_the_next_server_when_the_first_breaks_off(http_server, http_answer):
    async def broken(method, path, query, headers, body, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
        return "close"

    async def sound(method, path, query, headers, body, writer):
        http_answer(writer, 200, {"sound": True})

    async def run():
        async with http_server(broken) as first, http_server(sound) as second:
            for _ in range(8):
                client = Client(ClientConfig((first.url, second.url)), system_seams())
                assert await client.get("pods", "a", "ns") == {"sound": True}
                await client.close()
            assert first.requests > 0

    asyncio.run(run())


def test_a_refusal_is_an_api_error_with_its_status(with_server, http_answer):
    async def handler(method, path, query, headers, body, writer):
        status = {"kind": "Status", "reason": "NotFound", "code": 404, "message": "no such pod"}
        http_answer(writer, 404, status)

    async def test(http, client):
        with pytest.raises(ApiError) as caught:
            await client.get("pods", "a", "ns")
        assert (caught.value.code, caught.value.reason) == (404, "NotFound")

    with_server(handler, test)


def test_a_throttled_request_waits_and_is_tried_again(with_server, http_answer):
    seen = []

    async def handler(method, path, query, headers, body, writer):
        seen.append(path)
        if len(seen) < 3:
            http_answer(writer, 429, {"kind": "Status", "code": 429}, "Retry-After: 0\r\n")
        else:
            http_answer(writer, 200, {"done": True})

    async def test(http, client):
        assert await client.get("pods", "a", "ns") == {"done": True}
        assert len(seen) == 3

    with_server(handler, test)


def test_a_body_without_length_ends_with_the_connection(with_server):
    async def handler(method, path, query, headers, body, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nline one\nline two\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def test(http, client):
        stream = await client.stream("GET", "/logs")
        assert await stream.read() == b"line one\nline two\n"
        stream.close()

    with_server(handler, test)


def test_a_line_break_in_a_header_is_refused(with_server, http_answer):
    async def handler(method, path, query, headers, body, writer):
        http_answer(writer, 200, {})

    async def test(http, client):
        with pytest.raises(ValueError, match="line break"):
            await client.raw("GET", "/a", headers={"X": "a\r\nInjected: b"})
        assert http.requests == 0

    with_server(handler, test)


def test_embedded_certificates_of_a_kubeconfig_are_read(tmp_path):
    path = tmp_path / "config"
    path.write_text(
        """
current-context: here
contexts: [{name: here, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1", certificate-authority: ca.pem}}]
users: [{name: u, user: {client-certificate-data: LS0tLS1CRUdJTg==, client-key: /k, token: t}}]
"""
    )
    config = ClientConfig.from_kubeconfig(str(path))
    assert config.servers == ("https://127.0.0.1:1",)
    assert config.ca == str(tmp_path / "ca.pem")
    assert (config.cert, config.key, config.token) == ("-----BEGIN", "/k", "t")
    with pytest.raises(ValueError, match="nowhere"):
        ClientConfig.from_kubeconfig(str(path), "nowhere")


def test_a_server_that_is_starting_is_passed_over(http_server, http_answer):
    async def starting(method, path, query, headers, body, writer):
        http_answer(writer, 503, {}, "Retry-After: 1\r\n")

    async def sound(method, path, query, headers, body, writer):
        http_answer(writer, 201, {"made": True})

    async def run():
        async with http_server(starting) as first, http_server(sound) as second:
            for _ in range(8):
                client = Client(ClientConfig((first.url, second.url)), system_seams())
                made = await client.create("pods", {"metadata": {"name": "a"}}, "ns")
                assert made == {"made": True}
                await client.close()
            assert first.requests > 0

    asyncio.run(run())


def test_what_came_too_late_on_a_connection_is_sent_again_whatever_it_is(with_server, http_answer):
    async def handler(method, path, query, headers, body, writer):
        seen.append(method)
        if len(seen) == 1:
            http_answer(writer, 408, b"", "Connection: close\r\n")
        else:
            http_answer(writer, 201, {"made": True})

    async def test(http, client):
        made = await client.create("pods", {"metadata": {"name": "a"}}, "ns")
        assert made == {"made": True}
        assert (http.connections, seen) == (2, ["POST", "POST"])

    seen: list[str] = []
    with_server(handler, test)


def test_a_read_does_not_wait_long_for_a_silent_server(http_server, http_answer, monkeypatch):
    async def frozen(method, path, query, headers, body, writer):
        await asyncio.sleep(60)

    async def sound(method, path, query, headers, body, writer):
        http_answer(writer, 200, {"sound": True})

    async def run():
        async with http_server(frozen) as first, http_server(sound) as second:
            for _ in range(8):
                client = Client(ClientConfig((first.url, second.url)), system_seams())
                assert await client.get("pods", "a", "ns") == {"sound": True}
                await client.close()
            assert first.requests > 0

    monkeypatch.setattr(transport, "SILENT_S", 0.05)
    asyncio.run(run())


def test_streams_from_a_server_that_went_silent_are_ended(http_server, http_answer, monkeypatch):
    """A frozen server would never end them: who follows it goes on elsewhere."""
    silent = asyncio.Event()

    async def freezing(method, path, query, headers, body, writer):
        if path == "/stream":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        else:
            silent.set()
            await asyncio.sleep(60)

    async def sound(method, path, query, headers, body, writer):
        http_answer(writer, 200, {})

    async def run():
        async with http_server(freezing) as first, http_server(sound) as second:
            client = Client(ClientConfig((first.url, second.url)), system_seams())
            client._transport._current = 0
            stream = await client.stream("GET", "/stream")
            chunks = stream.chunks()
            assert await anext(chunks) == b"hi"
            await client.get("pods", "a", "ns")
            assert silent.is_set()
            with pytest.raises(UnknownOutcome):
                await anext(chunks)
            stream.close()
            await client.close()

    monkeypatch.setattr(transport, "SILENT_S", 0.05)
    monkeypatch.setattr(transport, "PROBE_S", 0.05)
    asyncio.run(run())
