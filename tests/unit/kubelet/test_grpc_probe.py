"""The grpc probe against a real gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc import aio

from cluster.kubelet import grpc_probe

ANSWERS = {b"": b"\x08\x01", b"\x0a\x03bad": b"\x08\x02", b"\x0a\x03new": b""}


class Health(grpc.GenericRpcHandler):
    def service(self, details: Any) -> Any:
        if details.method != "/grpc.health.v1.Health/Check":
            return None

        async def answer(request: bytes, context: Any) -> bytes:
            if request not in ANSWERS:
                await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
            return ANSWERS[request]

        return grpc.unary_unary_rpc_method_handler(answer)


def with_server(test: Callable[[int], Awaitable[None]], *handlers: Any) -> None:
    async def whole() -> None:
        server = aio.server()
        server.add_generic_rpc_handlers(handlers)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            await test(port)
        finally:
            await server.stop(0)

    asyncio.run(whole())


def test_only_a_service_that_serves_passes() -> None:
    async def test(port: int) -> None:
        await grpc_probe.check("127.0.0.1", port, timeout_s=60)
        for service, why in (("bad", "NOT_SERVING"), ("new", "UNKNOWN"), ("no", "NOT_FOUND")):
            with pytest.raises(grpc_probe.NotServing, match=why):
                await grpc_probe.check("127.0.0.1", port, service, timeout_s=60)

    with_server(test, Health())


def test_a_server_without_the_health_service_and_no_server_at_all_fail() -> None:
    async def test(port: int) -> None:
        with pytest.raises(grpc_probe.NotServing, match="does not implement"):
            await grpc_probe.check("127.0.0.1", port, timeout_s=60)

    with_server(test)
    with pytest.raises(grpc_probe.NotServing, match="UNAVAILABLE"):
        asyncio.run(grpc_probe.check("127.0.0.1", 1, timeout_s=60))


def test_a_long_service_name_is_encoded() -> None:
    assert grpc_probe.request("x" * 300) == b"\x0a\xac\x02" + b"x" * 300
