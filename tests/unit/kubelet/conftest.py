"""An API just large enough for one kubelet: a dict of objects behind plain HTTP."""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cluster.machinery.patch import merge_patch, strategic

Object = dict[str, Any]

KINDS = {"pods": "Pod", "nodes": "Node", "events": "Event", "leases": "Lease"}
TYPES = {"pods": "io.k8s.api.core.v1.Pod", "nodes": "io.k8s.api.core.v1.Node"}


class SmallApi:
    """Objects by (resource, namespace, name); every change is kept for watches."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.changes: list[tuple[str, str, Object]] = []
        self.versions = itertools.count(1)
        self.stopped = False
        self.url = ""

    def put(self, resource: str, obj: Object, kind: str = "") -> Object:
        with self.lock:
            metadata = obj["metadata"]
            key = (resource, metadata.get("namespace", ""), metadata["name"])
            kind = kind or ("MODIFIED" if key in self.objects else "ADDED")
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata["resourceVersion"] = str(next(self.versions))
            if kind == "DELETED":
                self.objects.pop(key, None)
            else:
                self.objects[key] = obj
            self.changes.append((resource, kind, json.loads(json.dumps(obj))))
            self.lock.notify_all()
            return obj

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        with self.lock:
            found = self.objects.get((resource, namespace, name))
            return json.loads(json.dumps(found)) if found else None

    def wait(self, check: Callable[[], Any], timeout_s: float = 90) -> Any:
        """Until `check` gives something true; it is asked again after each change."""
        with self.lock:
            found = self.lock.wait_for(check, timeout_s)
            assert found, "did not happen in time"
            return found


class Handler(BaseHTTPRequestHandler):
    api: SmallApi

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def target(self) -> tuple[str, str, str, dict[str, str]]:
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")[2:]
        parts = parts[1:] if self.path.startswith("/apis") else parts
        query = {k: v[-1] for k, v in parse_qs(url.query).items()}
        if parts[0] == "namespaces":
            return parts[2], parts[1], (parts[3:] or [""])[0], query
        return parts[0], "", (parts[1:] or [""])[0], query

    def body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")

    def send(self, code: int, obj: Object) -> None:
        data = json.dumps(obj).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def missing(self) -> None:
        status = {"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}
        self.send(404, status)

    def do_GET(self) -> None:
        resource, namespace, name, query = self.target()
        if name:
            found = self.api.get(resource, name, namespace)
            self.send(200, found) if found else self.missing()
        elif query.get("watch"):
            self.watch(resource, namespace, int(query["resourceVersion"]))
        else:
            with self.api.lock:
                items = [o for (r, n, _), o in self.api.objects.items() if r == resource]
                version = str(next(self.api.versions))
                self.send(200, {"items": items, "metadata": {"resourceVersion": version}})

    def watch(self, resource: str, namespace: str, since: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        at = 0
        while not self.api.stopped:
            with self.api.lock:
                new, at = self.api.changes[at:], len(self.api.changes)
                if not new:
                    self.api.lock.wait(0.2)
            for changed, kind, obj in new:
                if changed == resource and int(obj["metadata"]["resourceVersion"]) > since:
                    try:
                        line = json.dumps({"type": kind, "object": obj}).encode() + b"\n"
                        self.wfile.write(line)
                    except OSError:
                        return

    def do_POST(self) -> None:
        resource, _, _, _ = self.target()
        self.send(201, self.api.put(resource, self.body()))

    def do_PATCH(self) -> None:
        resource, namespace, name, _ = self.target()
        patch = self.body()
        with self.api.lock:
            old = self.api.get(resource, name, namespace)
            if old is None:
                return self.missing()
            if "strategic" in self.headers["Content-Type"]:
                new = strategic.apply(old, patch, TYPES[resource])
            else:
                new = merge_patch.apply(old, patch)
            return self.send(200, self.api.put(resource, new))

    def do_DELETE(self) -> None:
        resource, namespace, name, _ = self.target()
        self.body()
        with self.api.lock:
            old = self.api.get(resource, name, namespace)
            if old is None:
                return self.missing()
            self.api.put(resource, old, "DELETED")
            return self.send(200, {"kind": "Status", "status": "Success"})


@pytest.fixture
def api() -> Iterator[SmallApi]:
    made = SmallApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"api": made}))
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.stopped = True
    server.shutdown()
    server.server_close()
