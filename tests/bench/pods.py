"""The pods of the benchmarks, and requests for them as bytes."""

from __future__ import annotations

import json
from typing import Any

NAMESPACE = "bench"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def pod(name: str, watchers: int = 0) -> dict[str, Any]:
    """One that no scheduler takes, so that only the API is measured."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": "bench", "watched": str(watchers)},
        },
        "spec": {
            "schedulerName": "nobody",
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example/app:1",
                    "command": ["sleep", "3600"],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                    "env": [{"name": "MODE", "value": "bench"}],
                }
            ],
        },
    }


class Requests:
    """Of HTTP/1.1, for one host."""

    def __init__(self, host: str) -> None:
        self._host = host

    def status_patch(self, name: str, number: int) -> bytes:
        status = {"status": {"message": f"round {number}", "phase": "Pending"}}
        kind = "application/merge-patch+json"
        return self.of("PATCH", f"{PODS}/{name}/status", status, kind)

    def of(
        self, method: str, target: str, body: Any = None, kind: str = "application/json"
    ) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        head = [
            f"{method} {target} HTTP/1.1",
            f"Host: {self._host}",
            "User-Agent: bench",
            "Accept: application/json",
            *([f"Content-Type: {kind}", f"Content-Length: {len(content)}"] if content else []),
        ]
        return "\r\n".join([*head, "", ""]).encode() + content
