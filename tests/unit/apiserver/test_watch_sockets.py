"""Watches over a WebSocket: the events are those of a chunked watch, one to a message."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import websocket
from api_fixture import RunningApi

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    running = RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


def opened(api: RunningApi, options: str, *protocols: str, accept: str = "") -> Any:
    user = api.admin
    return websocket.create_connection(
        f"wss://127.0.0.1:{api.port}{MAPS}?watch=true&{options}",
        sslopt={"ca_certs": user["ca"], "certfile": user["cert"], "keyfile": user["key"]},
        subprotocols=list(protocols), header=[f"Accept: {accept}"] if accept else [],
        timeout=30, suppress_origin=True,
    )  # fmt: skip


def made(api: RunningApi, name: str, text: str = "") -> str:
    """The revision of a new object."""
    body = {"metadata": {"name": name}, "data": {"text": text}}
    status, answer = api.json("POST", MAPS, body)
    assert status == 201, answer
    return str(answer["metadata"]["resourceVersion"])


def seen(event: dict[str, Any]) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"]["name"]


def test_an_event_is_a_text_message(api: RunningApi) -> None:
    start = made(api, "before")
    socket = opened(api, f"resourceVersion={start}")
    made(api, "one")
    api.json("DELETE", f"{MAPS}/one")
    opcode, data = socket.recv_data()
    assert opcode == websocket.ABNF.OPCODE_TEXT
    assert seen(json.loads(data)) == ("ADDED", "one")
    assert seen(json.loads(socket.recv())) == ("DELETED", "one")
    socket.close()


def test_what_is_there_comes_first_and_a_watch_ends_in_time(api: RunningApi) -> None:
    made(api, "there")
    socket = opened(api, "fieldSelector=metadata.name%3Dthere&timeoutSeconds=1")
    assert seen(json.loads(socket.recv())) == ("ADDED", "there")
    assert socket.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE


def test_events_in_base64_and_in_protobuf(api: RunningApi) -> None:
    start = made(api, "encoded")
    options = f"resourceVersion={int(start) - 1}"
    socket = opened(api, options, "base64.binary.k8s.io")
    assert seen(json.loads(base64.b64decode(socket.recv()))) == ("ADDED", "encoded")
    socket.close()
    socket = opened(api, options, accept="application/vnd.kubernetes.protobuf")
    opcode, data = socket.recv_data()
    assert opcode == websocket.ABNF.OPCODE_BINARY
    assert (b"ADDED" in data, b"encoded" in data, b"k8s\x00" in data) == (True, True, True)
    socket.close()


def test_a_slow_client_loses_nothing_and_one_that_left_is_forgotten(api: RunningApi) -> None:
    start = made(api, "large")
    watchers = api.server._context.metrics.watchers
    socket = opened(api, f"resourceVersion={start}")
    names = [f"large-{number}" for number in range(30)]
    for name in names:
        made(api, name, "x" * 100_000)  # more than all buffers on the way together
    assert [seen(json.loads(socket.recv())) for _ in names] == [("ADDED", n) for n in names]
    socket.close()
    while api.server._context.metrics.watchers > watchers:
        assert api.raw("GET", "/livez")[0] == 200


def test_a_handshake_for_a_protocol_that_is_unknown_is_refused(api: RunningApi) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException, match="400"):
        opened(api, "resourceVersion=1", "v9.channel.k8s.io")
