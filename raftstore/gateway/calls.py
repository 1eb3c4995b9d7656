"""From handlers of one request to gRPC's: identity, errors as etcd tells them, limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from raftstore.errors import RequestTooLarge, StoreError
from raftstore.gateway.core import Asker, Core
from raftstore.gateway.status import MalformedMessage, status_of

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
                _check_form(request)
                if request.ByteSize() > MAX_REQUEST_BYTES:
                    raise RequestTooLarge(f"more than {MAX_REQUEST_BYTES} bytes")
                return await handler(request, await self._core.identify(context))
            except StoreError as error:
                await context.abort(*status_of(error))

        return grpc.unary_unary_rpc_method_handler(call, _parser(request_type), _serialize)

    def server_stream(self, request_type: Any, handler: ServerStream) -> Any:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                _check_form(request)
                async for answer in handler(request, await self._core.identify(context)):
                    yield answer
            except StoreError as error:
                await context.abort(*status_of(error))

        return grpc.unary_stream_rpc_method_handler(call, _parser(request_type), _serialize)

    def stream(self, request_type: Any, handler: Stream) -> Any:
        async def call(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            try:
                asker = await self._core.identify(context)
                async for answer in handler(_well_formed(requests), asker):
                    yield answer
            except StoreError as error:
                await context.abort(*status_of(error))

        return grpc.stream_stream_rpc_method_handler(call, _parser(request_type), _serialize)


_MALFORMED = object()


def _parser(request_type: Any) -> Callable[[bytes], Any]:
    """Of what is no message makes `_MALFORMED`, for gRPC itself tells nobody what went wrong."""

    def parse(data: bytes) -> Any:
        try:
            return request_type.FromString(data)
        except DecodeError:
            return _MALFORMED

    return parse


def _check_form(request: Any) -> None:
    if request is _MALFORMED:
        raise MalformedMessage("grpc: error unmarshalling request")


async def _well_formed(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        _check_form(request)
        yield request


def _serialize(message: Any) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized
