"""Registries for tests: Debian's docker-registry, and one of our own that can misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bcrypt
import yaml

DOCKER_REGISTRY = shutil.which("docker-registry")
USER, PASSWORD = "user", "a secret"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
START_S = 90.0


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class DockerRegistry:
    """Pushes what is in an OCI layout."""

    def __init__(self, address: str, tls: Path | None, password: bool) -> None:
        self.address, self._password = address, password
        self._scheme = "https" if tls else "http"
        self._context = ssl.create_default_context(cafile=str(tls)) if tls else None

    def request(self, method: str, url: str, data: bytes | None = None, kind: str = "") -> Any:
        url = url if url.startswith("http") else f"{self._scheme}://{self.address}{url}"
        headers = {"Content-Type": kind or "application/octet-stream"}
        if self._password:
            headers["Authorization"] = BASIC
        request = urllib.request.Request(url, data, headers, method=method)
        return urllib.request.urlopen(request, timeout=60, context=self._context)

    def push(self, layout: Path, repository: str, tag: str) -> str:
        """The manifest's digest."""
        (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
        blobs = {digest(path.read_bytes()): path.read_bytes()
                 for path in (layout / "blobs" / "sha256").iterdir()}  # fmt: skip
        for name, data in blobs.items():
            if name != entry["digest"]:
                with self.request("POST", f"/v2/{repository}/blobs/uploads/", b"") as answer:
                    place = answer.headers["Location"]
                joint = "&" if "?" in place else "?"
                self.request("PUT", f"{place}{joint}digest={name}", data).close()
        target = f"/v2/{repository}/manifests/{tag}"
        self.request("PUT", target, blobs[entry["digest"]], entry["mediaType"]).close()
        return str(entry["digest"])


@contextmanager
def docker_registry(
    folder: Path, *, password: bool = False, tls: dict[str, Path] | None = None
) -> Iterator[DockerRegistry]:
    assert DOCKER_REGISTRY is not None
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address, "secret": "s"},
    }
    if tls:
        config["http"]["tls"] = {"certificate": str(tls["cert"]), "key": str(tls["key"])}
    if password:
        line = f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n"
        (folder / "htpasswd").write_text(line)
        config["auth"] = {"htpasswd": {"realm": "r", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [DOCKER_REGISTRY, "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    registry = DockerRegistry(address, tls["ca"] if tls else None, password)
    try:
        _wait(registry, process)
        yield registry
    finally:
        process.kill()
        process.wait(60)


def _wait(registry: DockerRegistry, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            return registry.request("GET", "/v2/").close()
        except (OSError, urllib.error.URLError):
            assert process.poll() is None, "docker-registry ended"
            assert time.monotonic() < deadline, "docker-registry did not start"
            time.sleep(0.05)


class OwnRegistry:
    """Serves an OCI layout as any repository, under a token if `token` says so, with faults."""

    def __init__(self, layout: Path) -> None:
        (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
        blobs = (layout / "blobs" / "sha256").iterdir()
        self.blobs = {digest(path.read_bytes()): path.read_bytes() for path in blobs}
        self.top, self.media_type = entry["digest"], entry["mediaType"]
        self.token = ""
        self.cut_bytes = 0
        """Answers about blobs end after so many bytes, as if the line were cut."""
        self.wrong: dict[str, bytes] = {}
        self.redirect = ""
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.address = ""


class _Handler(BaseHTTPRequestHandler):
    registry: OwnRegistry

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        own, url = self.registry, urlsplit(self.path)
        own.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        if url.path == "/token":
            return self._give_token(parse_qs(url.query))
        if own.token and self.headers.get("Authorization") != f"Bearer {own.token}":
            realm = f'Bearer realm="http://{own.address}/token",service="own"'
            return self._send(401, b"{}", {"WWW-Authenticate": realm})
        what = url.path.rpartition("/")[2]
        if "/manifests/" in url.path:
            data = own.wrong.get("manifest") or own.blobs.get(own.top if ":" not in what else what)
            kind = own.media_type
        else:
            data, kind = own.wrong.get(what) or own.blobs.get(what), "application/octet-stream"
            if own.redirect and data is not None:
                return self._send(307, b"", {"Location": own.redirect + self.path})
        if data is None:
            return self._send(404, b"{}", {})
        return self._send_part(data, kind, "/blobs/" in url.path)

    def _give_token(self, query: dict[str, list[str]]) -> None:
        good = self.headers.get("Authorization") == BASIC and query["service"] == ["own"]
        body = json.dumps({"token": self.registry.token}).encode() if good else b"{}"
        self._send(200 if good else 401, body, {})

    def _send_part(self, data: bytes, kind: str, is_blob: bool) -> None:
        status, wanted = 200, self.headers.get("Range")
        if wanted:
            status, data = 206, data[int(wanted.removeprefix("bytes=").rstrip("-")) :]
        cut = self.registry.cut_bytes if is_blob else 0
        self._send(status, data, {"Content-Type": kind}, cut)

    def _send(self, status: int, data: bytes, headers: dict[str, str], cut: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:cut] if cut else data)
        self.close_connection = True


@contextmanager
def own_registry(layout: Path) -> Iterator[OwnRegistry]:
    own = OwnRegistry(layout)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"registry": own}))
    server.daemon_threads = True
    own.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield own
    server.shutdown()
    server.server_close()
