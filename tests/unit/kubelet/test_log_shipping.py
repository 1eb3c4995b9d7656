"""Logs of pods on their way to a central place: none doubled while it answers, none left out."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from actors.seams import system_seams
from cluster.kubelet.runtimes.helpers.crilog import LogFile, Stream
from cluster.kubelet.shipping import records
from cluster.kubelet.shipping.records import Source
from cluster.kubelet.shipping.shipper import Shipper, Target

POD = "default_web_uid-1"


class Collector:
    """Takes batches; refuses those for which `refusing` is set."""

    def __init__(self) -> None:
        self.refusing = False
        self.bodies: list[bytes] = []
        self.types: list[str] = []
        self.url = ""

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for body in self.bodies for line in body.splitlines()]

    @property
    def texts(self) -> list[str]:
        return [line["log"] for line in self.lines]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if not made.refusing:
                made.bodies.append(body)
                made.types.append(self.headers["content-type"])
            self.send_response(503 if made.refusing else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}/logs?a=b"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


class Rig:
    def __init__(self, folder: Path, collector: Collector, form: str = "jsonl") -> None:
        self.data_dir, self._url, self._form = folder, collector.url, form
        self.log = folder / "logs" / "pods" / POD / "main" / "0.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.restart()

    def restart(self) -> None:
        target = Target(self._url, self._form)
        self._shipper = Shipper(system_seams(), target, str(self.data_dir), "node-1")

    def write(self, *lines: str, size_bytes_max: int = 1 << 20) -> None:
        file = LogFile(str(self.log), size_bytes_max, 5)
        stream = Stream("stdout", file)
        for line in lines:
            stream.feed(line.encode() + b"\n")
        file.close()

    async def ship_all(self) -> None:
        while await self._shipper.ship():
            pass


def test_lines_are_sent_once_with_whose_they_are(tmp_path: Path, collector: Collector) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, collector)
        rig.write("one", "two")
        await rig.ship_all()
        rig.write("three")
        rig.restart()
        await rig.ship_all()
        assert collector.texts == ["one", "two", "three"]
        first = collector.lines[0]
        assert first["stream"] == "stdout"
        assert first["kubernetes"] == {
            "namespace": "default", "pod": "web", "pod_uid": "uid-1", "container": "main",
            "attempt": 0, "node": "node-1",
        }  # fmt: skip
        assert set(collector.types) == {"application/x-ndjson"}

    asyncio.run(test())


def test_what_was_refused_is_sent_again_and_rotation_loses_nothing_that_is_there(
    tmp_path: Path, collector: Collector
) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, collector)
        wanted = [f"line {number}" for number in range(40)]
        collector.refusing = True
        for at in range(0, 40, 10):
            rig.write(*wanted[at : at + 10], size_bytes_max=600)
            with pytest.raises(OSError, match="answered 503"):
                await rig.ship_all()
        assert len(list(rig.log.parent.iterdir())) > 2
        collector.refusing = False
        await rig.ship_all()
        assert collector.texts == wanted

    asyncio.run(test())


def test_a_flood_is_sent_in_bounded_batches_and_half_a_line_waits(
    tmp_path: Path, collector: Collector
) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, collector)
        rig.write(*("x" * 1000 for _ in range(3000)), size_bytes_max=1 << 30)
        with open(rig.log, "a") as file:
            file.write("2026-01-01T00:00:00Z stdout F half")
        await rig.ship_all()
        assert len(collector.texts) == 3000
        assert len(collector.bodies) > 5
        with open(rig.log, "a") as file:
            file.write(" a line\n")
        await rig.ship_all()
        assert collector.texts[-1] == "half a line"

    asyncio.run(test())


def test_otlp_has_a_resource_for_each_container_and_nanoseconds() -> None:
    source = Source("default", "web", "u", "main", 2)
    found = records.parse(b"1970-01-01T00:00:01.5Z stderr P part\nrubbish\n", source)
    (resource,) = json.loads(records.encode(found, "otlp", "n"))["resourceLogs"]
    attributes = {a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]}
    assert attributes["k8s.container.name"] == "main"
    assert attributes["k8s.container.restart_count"] == "2"
    (entry,) = resource["scopeLogs"][0]["logRecords"]
    assert entry["timeUnixNano"] == "1500000000"
    assert entry["body"] == {"stringValue": "part"}


@pytest.mark.parametrize("config", [{"url": "ftp://a"}, {"url": "http://a", "format": "xml"}, {}])
def test_a_wrong_target_is_told(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ship_logs"):
        Target.of_config(config)
