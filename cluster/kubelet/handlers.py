"""Runs the actions that probes and hooks share: exec, httpGet, tcpSocket, grpc, sleep."""

from __future__ import annotations

from typing import Any

from actors.seams import Seams
from cluster.kubelet import grpc_probe, http_probe
from cluster.kubelet.runtimes.base import Runtime

Object = dict[str, Any]

_OUTPUT_SIZE_BYTES_MAX = 10 * 1024
_HOOK_EXEC_TIMEOUT_S = 3600.0


class HandlerFailed(Exception):
    """The action was carried out and failed; the message is for the event."""


class Handlers:
    def __init__(self, runtime: Runtime, seams: Seams) -> None:
        self._runtime = runtime
        self._seams = seams

    async def run(
        self,
        handler: Object,
        container: Object,
        container_id: str,
        pod_ip: str,
        timeout_s: float = _HOOK_EXEC_TIMEOUT_S,
    ) -> None:
        """Returns if it succeeded. Raises HandlerFailed, or OSError for what cannot be reached."""
        if handler.get("exec"):
            await self._exec(handler["exec"], container_id, timeout_s)
        elif handler.get("httpGet"):
            await self._http_get(handler["httpGet"], container, pod_ip)
        elif handler.get("tcpSocket"):
            action = handler["tcpSocket"]
            port = port_number(action["port"], container)
            await http_probe.tcp_connect(self._seams.network, action.get("host") or pod_ip, port)
        elif handler.get("grpc"):
            await self._grpc(handler["grpc"], pod_ip, timeout_s)
        elif handler.get("sleep"):
            await self._seams.clock.sleep(float(handler["sleep"]["seconds"]))
        else:
            raise HandlerFailed(f"unsupported handler: {', '.join(sorted(handler))}")

    async def _grpc(self, action: Object, pod_ip: str, timeout_s: float) -> None:
        service = action.get("service") or ""
        try:
            await grpc_probe.check(pod_ip, int(action["port"]), service, timeout_s)
        except grpc_probe.NotServing as failure:
            raise HandlerFailed(str(failure)) from None

    async def _exec(self, action: Object, container_id: str, timeout_s: float) -> None:
        result = await self._runtime.exec(
            container_id,
            action.get("command") or (),
            timeout_s=timeout_s,
            output_size_bytes_max=_OUTPUT_SIZE_BYTES_MAX,
        )
        if result.timed_out:
            raise HandlerFailed(f"command timed out after {timeout_s:g}s")
        if result.exit_code != 0:
            raise HandlerFailed(result.output.decode(errors="replace") or f"{result.exit_code}")

    async def _http_get(self, action: Object, container: Object, pod_ip: str) -> None:
        path = action.get("path") or "/"
        status, _ = await http_probe.get(
            self._seams.network,
            action.get("host") or pod_ip,
            port_number(action["port"], container),
            path if path.startswith("/") else "/" + path,
            https=action.get("scheme") == "HTTPS",
            headers=[(h["name"], h["value"]) for h in action.get("httpHeaders") or ()],
        )
        if not 200 <= status < 400:
            raise HandlerFailed(f"HTTP probe failed with statuscode: {status}")


def port_number(port: int | str, container: Object) -> int:
    """A number, or the name of one of the container's ports."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise HandlerFailed(f'couldn\'t find port "{port}" in container {container["name"]}')
