"""The kubelet's HTTPS server: who may talk to it, and logs while they are written."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from actors import tls
from actors.seams import system_seams
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.server import KubeletServer
from cluster.pki import Authority

HOST = "127.78.2.1"


class Pods:
    """One pod with one container that the test lets run."""

    def __init__(self, log: Path) -> None:
        self.running = True
        self.log = log

    def pod_objects(self) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "p", "namespace": "ns", "uid": "u"}}]

    def container_attempts(self, namespace: str, pod: str, name: str) -> list[Container] | None:
        if (namespace, pod, name) != ("ns", "p", "main"):
            return None
        return [Container("u", "main", 0, "id", str(self.log), self.running)]


def files_of(folder: Path, name: str, authority: Authority, **more: Any) -> dict[str, str]:
    pair = authority.issue(name, **more)
    paths = {part: folder / f"{name}.{part}" for part in ("ca", "cert", "key")}
    paths["ca"].write_bytes(authority.pair.certificate)
    paths["cert"].write_bytes(pair.certificate)
    paths["key"].write_bytes(pair.key)
    return {part: str(path) for part, path in paths.items()}


class Rig:
    def __init__(self, folder: Path) -> None:
        authority = Authority.create("test-ca")
        self.writers: list[asyncio.StreamWriter] = []
        self.pods = Pods(folder / "0.log")
        self.pods.log.write_text("2026-01-01T00:00:01.0Z stdout F one\n")
        self.server = KubeletServer(system_seams(), self.pods)
        self.files = files_of(folder, "kubelet", authority, names=[HOST])
        self.client = tls.client_context(files_of(folder, "api", authority))
        stranger = Authority.create("other-ca")
        mixed = files_of(folder, "stranger", stranger) | {"ca": self.files["ca"]}
        self.stranger = tls.client_context(mixed)

    async def open(self, path: str, context: ssl.SSLContext) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(HOST, self.server.port, ssl=context)
        self.writers.append(writer)  # a dropped writer closes its connection
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return reader

    async def get(self, path: str) -> tuple[int, bytes]:
        reader = await self.open(path, self.client)
        data = await reader.read()
        head, _, body = data.partition(b"\r\n\r\n")
        parts = []
        while body:
            size, _, rest = body.partition(b"\r\n")
            parts.append(rest[: int(size, 16)])
            body = rest[int(size, 16) + 2 :]
        return int(head.split()[1]), b"".join(parts)


def run(rig: Rig, test: Awaitable[None]) -> None:
    async def whole() -> None:
        await rig.server.start(HOST, 0, rig.files)
        try:
            await asyncio.wait_for(test, 20)
        finally:
            for writer in rig.writers:
                writer.close()
            await rig.server.stop()

    asyncio.run(whole())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_fixed_paths_and_errors(rig: Rig) -> None:
    async def test() -> None:
        assert await rig.get("/healthz") == (200, b"ok")
        assert json.loads((await rig.get("/pods"))[1])["items"][0]["metadata"]["name"] == "p"
        assert (await rig.get("/nothing"))[0] == 404
        logs = "/containerLogs/ns/p/main"
        assert await rig.get(logs) == (200, b"one\n")
        assert (await rig.get("/containerLogs/ns/p/other"))[0] == 404
        assert (await rig.get(f"{logs}?tailLines=-1"))[0] == 400
        assert (await rig.get(f"{logs}?tailLines=x"))[0] == 400
        status, text = await rig.get(f"{logs}?previous=true")
        assert (status, b"previous terminated container" in text) == (400, True)

    run(rig, test())


def test_a_certificate_of_another_authority_is_turned_away(rig: Rig) -> None:
    async def asked_by_stranger() -> bytes:
        reader = await rig.open("/pods", rig.stranger)
        return await reader.read()

    async def test() -> None:
        try:
            answer = await asked_by_stranger()
        except (ssl.SSLError, ConnectionError):
            return
        assert answer == b""

    run(rig, test())


def test_following_a_log_streams_lines_until_the_container_ends(rig: Rig) -> None:
    def append(text: str) -> None:
        with rig.pods.log.open("a") as file:
            file.write(f"2026-01-01T00:00:02.0Z stdout F {text}\n")

    async def test() -> None:
        reader = await rig.open("/containerLogs/ns/p/main?follow=true", rig.client)
        await reader.readuntil(b"one\n")
        append("two")
        await reader.readuntil(b"two\n")
        append("three")
        rig.pods.running = False
        assert (await reader.read()).endswith(b"three\n\r\n0\r\n\r\n")

    run(rig, test())
