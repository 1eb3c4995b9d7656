"""Passes a request on to the server behind an APIService, and its answer back."""

from __future__ import annotations

from cluster.apiserver.aggregation import messages
from cluster.apiserver.aggregation.links import Exchange, LinkError
from cluster.apiserver.aggregation.peers import Peers
from cluster.apiserver.aggregation.services import Unresolved
from cluster.apiserver.authn.user import User
from cluster.apiserver.http.messages import Request, Response
from cluster.machinery.apiservices import ApiService

TEXT = "text/plain; charset=utf-8"
WHOLE_BYTES = 1 << 20
"""Answers up to this size are read before they are sent; longer ones flow through."""
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class Proxy:
    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def forward(
        self, request: Request, service: ApiService, user: User, *, long: bool
    ) -> Response | None:
        """503 if the server is not available. `long`: the answer streams until either side ends it.

        None: the answer has been streamed.
        """
        if not service.available:
            return unavailable("service unavailable")
        try:
            exchange = await self._send(request, service, user, long)
        except Unresolved:
            return unavailable("service unavailable")
        except LinkError as error:
            return unavailable(f"error trying to reach service: {error}")
        try:
            return await _pass_on(request, exchange, long)
        except LinkError as error:
            return unavailable(f"error trying to reach service: {error}")
        finally:
            exchange.close()

    async def _send(
        self, request: Request, service: ApiService, user: User, long: bool
    ) -> Exchange:
        message = messages.encode(
            request.method,
            messages.target_of(request),
            self._peers.host(service),
            messages.forwarded(request, user),
            request.body,
        )
        repeatable = request.method in REPEATABLE
        return await self._peers.exchange(service, message, long=long, repeatable=repeatable)


async def _pass_on(request: Request, exchange: Exchange, long: bool) -> Response | None:
    headers = messages.answered(exchange.headers)
    content_type = exchange.headers.get("content-type", TEXT)
    if request.method == "HEAD" or exchange.status in (204, 304):
        return Response(exchange.status, b"", content_type, headers)
    length = exchange.headers.get("content-length", "")
    if not long and length.isdigit() and int(length) <= WHOLE_BYTES:
        return Response(exchange.status, await _whole(exchange), content_type, headers)
    await _stream(request, exchange, headers | {"Content-Type": content_type})
    return None


async def _whole(exchange: Exchange) -> bytes:
    pieces = []
    while piece := await exchange.chunk():
        pieces.append(piece)
    return b"".join(pieces)


async def _stream(request: Request, exchange: Exchange, headers: dict[str, str]) -> None:
    stream = request.open_stream(exchange.status, headers)
    stream.closed.add_done_callback(lambda _: exchange.close())
    try:
        while piece := await exchange.chunk():
            stream.write(piece)
            await stream.drain()
    except (LinkError, ConnectionError):
        stream.abort()  # a clean end of the chunks would say that this was all


def unavailable(message: str) -> Response:
    """As Go's http.Error."""
    headers = {"X-Content-Type-Options": "nosniff"}
    return Response(503, f"{message}\n".encode(), TEXT, headers)
