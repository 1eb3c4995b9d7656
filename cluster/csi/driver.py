"""Calls to a CSI driver (and to what registers one) over its Unix socket.

Imported only where there is a driver: gRPC costs each process some twenty megabytes.
"""

from __future__ import annotations

from typing import Any

import grpc

from cluster.csi import csi_pb2, registration_pb2

CALL_TIMEOUT_S = 120.0
_IDENTITY = ("GetPluginInfo", "GetPluginCapabilities", "Probe")


class CsiError(Exception):
    """A driver refused, or did not answer. `code` is gRPC's."""

    def __init__(self, method: str, code: str, details: str) -> None:
        super().__init__(f"{method}: rpc error: code = {code} desc = {details}")
        self.code = code


class Driver:
    """One socket. Calls are named by their requests: `call(pb.NodeStageVolumeRequest(...))`."""

    def __init__(self, socket: str, name: str = "") -> None:
        self.name = name
        self._channel = grpc.aio.insecure_channel(f"unix://{socket}")
        self._capabilities: dict[str, frozenset[int]] = {}

    async def close(self) -> None:
        await self._channel.close()

    async def call(self, request: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Raises CsiError."""
        method = type(request).__name__.removesuffix("Request")
        kind = getattr(csi_pb2, f"{method}Response")
        return await self._send(f"/csi.v1.{_service(method)}/{method}", request, kind, timeout_s)

    async def registration(self, method: str, request: Any) -> Any:
        """Of the socket in the registry folder. Raises CsiError."""
        kinds = {
            "GetInfo": registration_pb2.PluginInfo,
            "NotifyRegistrationStatus": registration_pb2.RegistrationStatusResponse,
        }
        path = f"/pluginregistration.Registration/{method}"
        return await self._send(path, request, kinds[method], CALL_TIMEOUT_S)

    async def _send(self, path: str, request: Any, kind: Any, timeout_s: float) -> Any:
        call = self._channel.unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=kind.FromString,
        )
        try:
            return await call(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            method, details = path.rpartition("/")[2], error.details() or ""
            raise CsiError(method, error.code().name, details) from error

    async def node_can(self, capability: int) -> bool:
        """A value of NodeServiceCapability.RPC.Type; asked once."""
        return capability in await self._rpcs(csi_pb2.NodeGetCapabilitiesRequest())

    async def controller_can(self, capability: int) -> bool:
        """A value of ControllerServiceCapability.RPC.Type; asked once."""
        return capability in await self._rpcs(csi_pb2.ControllerGetCapabilitiesRequest())

    async def _rpcs(self, request: Any) -> frozenset[int]:
        name = type(request).__name__
        if name not in self._capabilities:
            answer = await self.call(request)
            self._capabilities[name] = frozenset(c.rpc.type for c in answer.capabilities)
        return self._capabilities[name]

    async def has_topology(self) -> bool:
        answer = await self.call(csi_pb2.GetPluginCapabilitiesRequest())
        wanted = csi_pb2.PluginCapability.Service.VOLUME_ACCESSIBILITY_CONSTRAINTS
        return any(capability.service.type == wanted for capability in answer.capabilities)


def _service(method: str) -> str:
    if method in _IDENTITY:
        return "Identity"
    return "Node" if method.startswith("Node") else "Controller"
