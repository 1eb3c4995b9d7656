"""The calls of a container manager behind a Unix socket. Every failure is a `CriError`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from cluster.kubelet.runtimes.cri import protocol_pb2 as pb

RUNTIME, IMAGES = "/runtime.v1.RuntimeService/", "/runtime.v1.ImageService/"
CALL_TIMEOUT_S = 120.0
SANDBOX_TIMEOUT_S = 240.0
PULL_TIMEOUT_S = 900.0
_MESSAGE_SIZE_BYTES_MAX = 16 << 20


class CriError(OSError):
    """What the container manager answered, or that it did not; `code` is gRPC's."""

    def __init__(self, call: str, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{call}: {message}")
        self.code, self.message = code, message

    @property
    def is_unknown_id(self) -> bool:
        return bool(self.code == grpc.StatusCode.NOT_FOUND)

    @property
    def is_unreachable(self) -> bool:
        return bool(self.code == grpc.StatusCode.UNAVAILABLE)


class CriClient:
    """`endpoint` as in `--runtime-endpoint`: unix:///PATH, or a path alone."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint if "://" in endpoint else f"unix://{endpoint}"
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_SIZE_BYTES_MAX),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.default_authority", "localhost"),  # a path is none, say Go's servers
        ]
        self._channel = grpc.aio.insecure_channel(self.endpoint, options=options)

    async def close(self) -> None:
        await self._channel.close()

    async def runtime(self, name: str, request: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """A call of the RuntimeService; the answer is of the type that belongs to it."""
        return await self._call(RUNTIME, name, request, timeout_s)

    async def images(self, name: str, request: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """A call of the ImageService."""
        return await self._call(IMAGES, name, request, timeout_s)

    async def _call(self, service: str, name: str, request: Any, timeout_s: float) -> Any:
        call = self._channel.unary_unary(
            service + name,
            request_serializer=type(request).SerializeToString,
            response_deserializer=getattr(pb, f"{name}Response").FromString,
        )
        try:
            return await call(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise CriError(name, error.code(), error.details() or error.code().name) from None

    async def events(self) -> AsyncIterator[Any]:
        """What happens to containers. Not every container manager can tell (UNIMPLEMENTED)."""
        call = self._channel.unary_stream(
            RUNTIME + "GetContainerEvents",
            request_serializer=pb.GetEventsRequest.SerializeToString,
            response_deserializer=pb.ContainerEventResponse.FromString,
        )
        try:
            async for event in call(pb.GetEventsRequest()):
                yield event
        except grpc.aio.AioRpcError as error:
            raise CriError("GetContainerEvents", error.code(), error.details() or "") from None
