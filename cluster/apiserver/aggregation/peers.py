"""The servers behind APIServices: a link to each, kept while its APIService stays as it is."""

from __future__ import annotations

from collections.abc import Mapping

from actors.seams import Seams
from cluster.apiserver.aggregation.links import Exchange, Link
from cluster.apiserver.aggregation.services import Services
from cluster.apiserver.endpoints import Address
from cluster.client.timeouts import timeout
from cluster.machinery.apiservices import ApiService
from cluster.machinery.apiservices.service import ServiceReference

MAX_ANSWER_BYTES = 32 << 20


class Peers:
    """`identity`: files of the front proxy's certificate, under `cert` and `key`."""

    def __init__(self, seams: Seams, services: Services, identity: Mapping[str, str]) -> None:
        self._seams, self.services, self._identity = seams, services, identity
        self._links: dict[str, tuple[object, Link]] = {}

    def host(self, service: ApiService) -> str:
        """What goes into the Host header."""
        reference = _reference(service)
        return f"{reference.host}:{reference.port}"

    async def exchange(
        self,
        service: ApiService,
        message: bytes,
        *,
        long: bool = False,
        repeatable: bool = False,
        address: Address | None = None,
    ) -> Exchange:
        """At a ready endpoint, or at the one given. Raises Unresolved, BackendError."""
        found = address or self.services.pick(_reference(service))
        link = self._link(service)
        return await link.exchange(found, message, long=long, repeatable=repeatable)

    async def ask(
        self, service: ApiService, message: bytes, timeout_s: float, address: Address | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and whole body. Raises Unresolved, BackendError, TimeoutError."""
        async with timeout(self._seams.clock, timeout_s):
            exchange = await self.exchange(service, message, repeatable=True, address=address)
            try:
                body = b""
                while piece := await exchange.chunk():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        break
                return exchange.status, exchange.headers, body
            finally:
                exchange.close()

    def _link(self, service: ApiService) -> Link:
        wanted = service.uid, service.service, service.ca_bundle, service.skip_verify
        known = self._links.get(service.name)
        if known is not None and known[0] == wanted:
            return known[1]
        made = Link(self._seams, service, self._identity)
        if known is not None:
            known[1].close()
        self._links[service.name] = wanted, made
        return made

    def keep(self, service: ApiService) -> None:
        """Drop connections to addresses that the Service has no more."""
        known = self._links.get(service.name)
        if known is not None:
            known[1].keep(set(self.services.addresses(_reference(service))))

    def forget(self, name: str) -> None:
        """The APIService is gone."""
        known = self._links.pop(name, None)
        if known is not None:
            known[1].close()

    def close(self) -> None:
        for name in list(self._links):
            self.forget(name)


def _reference(service: ApiService) -> ServiceReference:
    assert service.service is not None, "what is served here is not called"
    return service.service
