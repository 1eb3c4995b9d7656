"""From handlers of one request to gRPC's: identity, errors as etcd tells them, limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import grpc

from raftstore.errors import RequestTooLarge, StoreError
from raftstore.gateway.core import Asker, Core
from raftstore.gateway.status import status_of

MAX_REQUEST_BYTES = 3 << 19
"""1.5 MiB: the default of etcd's `--max-request-bytes`."""

Unary = Callable[[Any, Asker], Awaitable[Any]]
ServerStream = Callable[[Any, Asker], AsyncIterator[Any]]
Stream = Callable[[AsyncIterator[Any], Asker], AsyncIterator[Any]]


class Service(Protocol):
    """`name`: as clients call it. `methods`: name to handler."""

    name: str

    def methods(self) -> Mapping[str, Any]: ...


class Calls:
    """Makes gRPC handlers; one per gateway."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def unary(self, request_type: Any, handler: Unary) -> Any:
        async def call(request: Any, context: Any) -> Any:
            try:
                if request.ByteSize() > MAX_REQUEST_BYTES:
                    raise RequestTooLarge(f"more than {MAX_REQUEST_BYTES} bytes")
                return await handler(request, await self._core.identify(context))
            except StoreError as error:
                await context.abort(*status_of(error))

        return grpc.unary_unary_rpc_method_handler(call, request_type.FromString, _serialize)

    def server_stream(self, request_type: Any, handler: ServerStream) -> Any:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for answer in handler(request, await self._core.identify(context)):
                    yield answer
            except StoreError as error:
                await context.abort(*status_of(error))

        return grpc.unary_stream_rpc_method_handler(call, request_type.FromString, _serialize)

    def stream(self, request_type: Any, handler: Stream) -> Any:
        async def call(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            try:
                async for answer in handler(requests, await self._core.identify(context)):
                    yield answer
            except StoreError as error:
                await context.abort(*status_of(error))

        return grpc.stream_stream_rpc_method_handler(call, request_type.FromString, _serialize)


def _serialize(message: Any) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized
