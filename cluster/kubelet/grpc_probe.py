"""The probe of kind grpc: grpc.health.v1.Health/Check, without TLS, as upstream's kubelet asks."""

from __future__ import annotations

from collections.abc import Iterator

_METHOD = "/grpc.health.v1.Health/Check"
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


class NotServing(Exception):
    """It answered something else, or not at all; the message says what."""


async def check(host: str, port: int, service: str = "", timeout_s: float = 1.0) -> None:
    """Returns if the service is SERVING. Raises NotServing."""
    import grpc  # most pods have no such probe
    from grpc import aio

    async with aio.insecure_channel(f"{host}:{port}") as channel:
        call = channel.unary_unary(_METHOD)
        try:
            answer = await call(request(service), timeout=timeout_s)
        except aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                text = "the server does not implement the grpc health protocol"
                raise NotServing(f"{text} ({_METHOD})") from None
            raise NotServing(f"{error.code().name}: {error.details()}") from None
    found = status(answer)
    if found != "SERVING":
        raise NotServing(f"service unhealthy (responded with {found!r})")


def request(service: str) -> bytes:
    """HealthCheckRequest{service} in protobuf."""
    name = service.encode()
    return b"\x0a" + bytes(_varint(len(name))) + name if name else b""


def _varint(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number


def status(answer: bytes) -> str:
    """Of a HealthCheckResponse: its only field is an enumeration, left out for UNKNOWN."""
    number = answer[1] if answer[:1] == b"\x08" and len(answer) > 1 else 0
    return _STATUSES[number] if number < len(_STATUSES) else str(number)
