"""Ending the containers of a node in its Docker daemon, without a kubelet: see `runtimes.reap`."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlencode

from cluster.kubelet.runtimes.cri.messages import CONTAINER_NAME, owned
from cluster.kubelet.runtimes.docker.engine import CALL_TIMEOUT_S, VERSION, EngineError
from cluster.kubelet.runtimes.docker.messages import SANDBOX


class Reaper:
    """Of the node in `data_dir`. Calls raise OSError if the daemon is not there."""

    def __init__(self, data_dir: str, endpoint: str) -> None:
        self._endpoint = endpoint
        self._labels = [f"{key}={value}" for key, value in owned(data_dir).items()]

    def stop_all(self) -> int:
        """SIGKILL to all that runs; how many containers did."""
        running = self._list({"status": ["running"]})
        for each in running:
            self._call("POST", f"/containers/{each['Id']}/kill")
        return sum(each["Labels"][CONTAINER_NAME] != SANDBOX for each in running)

    def remove_all(self) -> int:
        stopped = self.stop_all()
        for each in self._list({}):
            self._call("DELETE", f"/containers/{each['Id']}?force=true&v=true")
        return stopped

    def close(self) -> None:
        """Nothing is kept open."""

    def _list(self, filters: dict[str, list[str]]) -> list[Any]:
        chosen = json.dumps(filters | {"label": self._labels})
        query = urlencode({"all": "true", "filters": chosen})
        return list(json.loads(self._call("GET", f"/containers/json?{query}")))

    def _call(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection("docker", timeout=CALL_TIMEOUT_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.settimeout(CALL_TIMEOUT_S)
            connection.sock.connect(self._endpoint)
            connection.request(method, f"/{VERSION}{path}")
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status >= 400 and answer.status not in (404, 409):  # gone, or ended meanwhile
            raise EngineError(answer.status, body.decode(errors="replace"))
        return body
