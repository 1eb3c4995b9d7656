"""A cluster with a web server in a pod `web`, behind a Service `front`, and an audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop
from node_cluster import Cluster, pod

POD_IP = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
WEB = """
import base64, hashlib, http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def body(self):
        if self.headers.get("transfer-encoding") != "chunked":
            left = int(self.headers.get("content-length") or 0)
            while left:
                data = self.rfile.read(min(left, 65536))
                left -= len(data)
                yield data
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
    def answer(self, code, data, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
    def do_GET(self):
        if self.path.startswith("/redirect"):
            self.answer(302, b"", location="/there?x=1")
        elif self.path.startswith("/stream"):
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for number in range(int(self.path.rpartition("=")[2])):
                self.wfile.write(b"10000\\r\\n" + b"%c" % (65 + number % 26) * 65536 + b"\\r\\n")
            self.wfile.write(b"0\\r\\n\\r\\n")
        elif self.headers.get("upgrade") == "echo":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\n")
            self.wfile.write(b"Connection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n")
            while data := self.connection.recv(65536):
                self.connection.sendall(data)
        else:
            self.answer(200, f"{self.command} {self.path}".encode())
    do_HEAD = do_GET
    def do_POST(self):
        digest = hashlib.sha256()
        size = 0
        for data in self.body():
            digest.update(data)
            size += len(data)
        self.answer(200, f"{size} {digest.hexdigest()}".encode())
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
Server((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


@contextmanager
def web_cluster(folder: Path) -> Iterator[Cluster]:
    rule = {"level": "Metadata", "resources": [{"group": "", "resources": ["pods/*"]}]}
    policy = {"kind": "Policy", "apiVersion": "audit.k8s.io/v1", "rules": [rule]}
    (folder / "policy.json").write_text(json.dumps(policy))
    audit = {"policy": str(folder / "policy.json"), "log": str(folder / "audit.log")}
    made = Cluster(folder, uvloop.new_event_loop(), audit=audit)
    container = {"env": POD_IP, "ports": [{"containerPort": 8080, "name": "http"}]}
    container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    made.apply(pod("web", "python3", "-c", WEB, container=container))
    made.wait("web", "condition=Ready")
    address = made.get("pod", "web")["status"]["podIP"]
    made.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "front"},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "front-1", "labels": {"kubernetes.io/service-name": "front"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    )
    try:
        yield made
    finally:
        made.close()
