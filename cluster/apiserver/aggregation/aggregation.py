"""All of aggregation, as the rest of the server uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actors.seams import Seams
from cluster.apiserver.aggregation.autoregister import Autoregister
from cluster.apiserver.aggregation.keeper import Keeper
from cluster.apiserver.aggregation.peers import Peers
from cluster.apiserver.aggregation.proxy import Proxy
from cluster.apiserver.aggregation.registered import Registered
from cluster.apiserver.aggregation.schemas import V3, RemoteSchemas
from cluster.apiserver.aggregation.services import SERVICES, Services
from cluster.apiserver.authn.user import User
from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.discovery import RemoteVersion
from cluster.apiserver.endpoints import SLICES
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.lookup import Lookup
from cluster.machinery.apiservices import KEY, ApiService, order
from cluster.machinery.apiservices.order import Priority
from cluster.storage.feed import Feed

OPENAPI = "/openapi/"


class Aggregation:
    """`start` after the caches have been composed."""

    def __init__(
        self,
        seams: Seams,
        identity: Mapping[str, str],
        catalogue: Catalogue,
        lookup: Lookup,
        feed: Feed,
    ) -> None:
        """`identity`: files of the front proxy's certificate (`cert`, `key`), or {}."""
        kept = catalogue.kept[KEY]
        slices = catalogue.kept[SLICES].registry.cache
        self._registered = Registered(kept.registry.cache)
        self._peers = Peers(seams, Services(lookup, slices, seams.randomness), identity)
        self._keeper = Keeper(seams, kept, self._registered, self._peers)
        self._autoregister = Autoregister(seams, catalogue, kept, feed)
        self._proxy = Proxy(self._peers)
        self.schemas = RemoteSchemas(seams, self._registered, self._peers)
        for key in (KEY, SERVICES, SLICES):
            catalogue.kept[key].registry.cache.on_change(self._keeper.touch)

    @property
    def registered(self) -> bool:
        """Whether there is an APIService for all that is built in."""
        return self._autoregister.done

    def start(self) -> None:
        self._keeper.start()
        self._autoregister.start()

    async def stop(self) -> None:
        await self._autoregister.stop()
        await self._keeper.stop()
        self._peers.close()

    # -- requests ------------------------------------------------------------------------------

    async def owner(self, path: str) -> ApiService | None:
        """The server behind this one that answers a path; None: this one does."""
        if not path.startswith(OPENAPI):
            return self._registered.owner(path)
        if not self._registered.remote:
            return None
        await self.schemas.refresh(path)
        root = path.removeprefix(V3 + "/")
        if self.schemas.document(root) is not None:
            return None
        return self._registered.owner(f"/{root}") if root in self.schemas.index() else None

    async def forward(
        self, request: Request, service: ApiService, user: User, *, long: bool
    ) -> Response | None:
        """See `Proxy.forward`."""
        return await self._proxy.forward(request, service, user, long=long)

    # -- discovery -----------------------------------------------------------------------------

    @property
    def generation(self) -> object:
        return self._registered.generation, self._keeper.generation

    def remote_versions(self) -> Sequence[RemoteVersion]:
        """What other servers serve; stale once a server has stopped to answer."""
        found = [self._keeper.found(service) for service in self._registered.remote]
        return [RemoteVersion(f.service.group, f.service.version, f.entry, f.fresh) for f in found]

    def priority(self, group: str, version: str) -> Priority:
        """As its APIService says, if there is one."""
        return self._registered.priorities.get((group, version)) or order.of(group, version)
