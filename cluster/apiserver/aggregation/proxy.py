"""Passes a request on to the server behind an APIService, and its answer back."""

from __future__ import annotations

from cluster.apiserver.aggregation import messages
from cluster.apiserver.aggregation.links import Exchange
from cluster.apiserver.aggregation.peers import Peers
from cluster.apiserver.aggregation.services import Unresolved
from cluster.apiserver.authn.user import User
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.proxying.answers import BackendError, pass_on
from cluster.machinery.apiservices import ApiService

TEXT = "text/plain; charset=utf-8"
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class Proxy:
    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def forward(
        self, request: Request, service: ApiService, user: User, *, long: bool
    ) -> Response | None:
        """503 if the server is not available. `long`: the answer streams until either side ends it.

        None: the answer has been streamed, or another protocol has come and gone.
        """
        if not service.available:
            return unavailable("service unavailable")
        try:
            exchange = await self._send(request, service, user, long)
            try:
                answered = exchange.headers
                return await pass_on(request, exchange.connection, exchange.status, answered)
            finally:
                exchange.close()
        except Unresolved:
            return unavailable("service unavailable")
        except BackendError as error:
            return unavailable(f"error trying to reach service: {error}")

    async def _send(
        self, request: Request, service: ApiService, user: User, long: bool
    ) -> Exchange:
        headers = messages.forwarded(request, user, self._peers.host(service))
        target = request.raw_path + (f"?{request.raw_query}" if request.raw_query else "")
        message = messages.encode(request.method, target, headers, request.body)
        repeatable = request.method in REPEATABLE
        return await self._peers.exchange(service, message, long=long, repeatable=repeatable)


def unavailable(message: str) -> Response:
    """As Go's http.Error."""
    headers = {"X-Content-Type-Options": "nosniff"}
    return Response(503, f"{message}\n".encode(), TEXT, headers)
