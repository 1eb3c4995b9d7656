"""A small HTTPS server that answers AdmissionReviews and ImageReviews as a test says."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class WebhookServer:
    """`answers[path]` maps the request of a review to its response (the spec of an
    ImageReview to its status). Everything is recorded."""

    def __init__(self, authority: Any) -> None:
        self.answers: dict[str, Answer] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.connections = 0
        self.callers: list[tuple[str, str]] = []
        """Of each call the Authorization header, and the common name of the certificate."""
        self.ca = base64.b64encode(Path(authority.ca).read_bytes()).decode()
        tls = authority.issue("webhook", server=True)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls["cert"], tls["key"])
        context.load_verify_locations(authority.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, address: None  # type: ignore[method-assign]
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def client_config(self, path: str) -> dict[str, Any]:
        return {"url": f"{self.url}/{path}", "caBundle": self.ca}

    def reviews(self, path: str) -> list[dict[str, Any]]:
        """What has been asked there."""
        return [request for at, request in self.calls if at == path]

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = {"apiVersion": body["apiVersion"], "kind": body["kind"]}
        if body["kind"] == "ImageReview":
            self.calls.append((path, body["spec"]))
            return {**answer, "status": self.answers[path](body["spec"])}
        request = body["request"]
        self.calls.append((path, request))
        return {**answer, "response": {"uid": request["uid"], **self.answers[path](request)}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer.connections += 1

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                path = self.path.partition("?")[0].lstrip("/")
                outer.callers.append((self.headers.get("authorization", ""), _name(self)))
                data = json.dumps(outer._answer(path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Tests print nothing."""

        return Handler


def _name(handler: BaseHTTPRequestHandler) -> str:
    subject = (handler.connection.getpeercert() or {}).get("subject", ())  # type: ignore[attr-defined]
    return "".join(value for part in subject for name, value in part if name == "commonName")


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    """A response that allows and changes."""
    text = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": text}
