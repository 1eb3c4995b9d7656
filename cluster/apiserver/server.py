"""The component: puts the parts of an API server together, starts and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import ssl
from typing import Any, cast

from actors import followed_file
from actors.component import Config, Health
from actors.followed_file import FollowedFile
from actors.seams import Seams
from actors.tls import server_context
from cluster.apiserver import bootstrap, cluster_info, openid, routing, security
from cluster.apiserver.admission import compose, selection
from cluster.apiserver.admission.compose import World
from cluster.apiserver.admission.plugins import default_plugins
from cluster.apiserver.admission.registered import Registered
from cluster.apiserver.aggregation import authentication_info
from cluster.apiserver.aggregation.aggregation import Aggregation
from cluster.apiserver.app import App
from cluster.apiserver.audit.recorder import Auditor
from cluster.apiserver.authz import bootstrap as roles
from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.context import Context, Kept
from cluster.apiserver.definitions.controller import DefinitionController
from cluster.apiserver.definitions.installed import Parts
from cluster.apiserver.definitions.manager import Definitions
from cluster.apiserver.discovery import CurrentDiscovery
from cluster.apiserver.fairness import bootstrap as flows
from cluster.apiserver.handlers.component_statuses import ComponentStatuses
from cluster.apiserver.health import HealthPages
from cluster.apiserver.http.listener import HttpListener
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.kubelet_client import KubeletClient
from cluster.apiserver.membership import REFRESH_S, Membership
from cluster.apiserver.metrics import Metrics
from cluster.apiserver.openapi import OpenApi
from cluster.apiserver.webhook_identities import WebhookIdentities
from cluster.apiserver.webhooks import WebhookClient, WebhookError
from cluster.machinery import resources
from cluster.machinery.codec import json_codec
from cluster.machinery.customresources import definition
from cluster.machinery.status import ApiError
from cluster.storage import cache, compactor, encryption, keys
from cluster.storage.cache import ResourceCache
from cluster.storage.claim_repair import ClaimRepair
from cluster.storage.claims import Allocator
from cluster.storage.event_leases import SharedLeases
from cluster.storage.feed import Feed
from cluster.storage.generated_names import name_suffix
from cluster.storage.listing import Lister
from cluster.storage.namespace_guard import NamespaceGuard
from cluster.storage.quotas import Quotas
from cluster.storage.registry import Environment, Registry
from cluster.storage.strategies import table
from raftstore.client import StoreClient
from raftstore.errors import StoreError
from raftstore.types import Store

log = logging.getLogger(__name__)

RELEASE = "v1.34.0"
GIT_VERSION = f"{RELEASE}+raykube"
EVENT_TTL_S = 3600
TOLERATION_S = 300
PROBE_S = 1.0
PROBE_TIMEOUT_S = 3.0
LEAVE_TIMEOUT_S = 2.0


class ApiServer:
    """One API server. `store` is for tests; otherwise the addresses in the config are dialled."""

    def __init__(self, store: Store | None = None) -> None:
        self._given_store = store
        self._client: StoreClient | None = None
        self._listener: HttpListener | None = None
        self._feed: Feed | None = None
        self._auditor: Auditor | None = None
        self._membership: Membership | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._address: str | None = None
        self._store_problem = "not asked yet"
        self._bootstrapped = False
        self._leaving = False
        self._encrypted: encryption.EncryptedStore | None = None
        self._files: list[FollowedFile] = []
        self._webhooks: list[WebhookClient] = []

    @property
    def address(self) -> str | None:
        """`host:port`, once started."""
        return self._address

    async def start(self, seams: Seams, config: Config) -> None:
        """Listen at once; /readyz tells when the store and the caches are there."""
        self._seams, self._config = seams, config
        self._draining = asyncio.Event()
        store = await self._open_store(seams, config)
        self._compose(store)
        assert self._feed is not None
        self._feed.start()
        if self._auditor is not None:
            self._auditor.log.start()
        self._definitions.start()
        self._definition_controller.start()
        self._aggregation.start()
        host, _, port = str(config["address"]).rpartition(":")
        self._listener = HttpListener(seams, self._app.handle, flows=routing.is_proxied)
        tls = server_context(config["tls"], require_client=False)
        if config.get("request_header"):
            tls.load_verify_locations(config["request_header"]["ca"])
        self._files.append(_followed_certificate(tls, config, seams))
        await self._listener.start(host, int(port), tls)
        self._address = f"{host}:{self._listener.port}"
        advertised = config.get("advertise_address") or host
        own = (str(advertised), self._listener.port)
        self._membership = Membership(store, seams, self._kept, own)
        loop = asyncio.get_running_loop()
        interval_s = float(config.get("compaction_interval_s") or compactor.INTERVAL_S)
        self._tasks = [
            *(loop.create_task(file.run()) for file in self._files),
            loop.create_task(self._probe()),
            loop.create_task(self._maintain()),
            loop.create_task(self._fairness.run()),
            loop.create_task(ClaimRepair(store, seams).run()),
            loop.create_task(compactor.run(store, seams, self._feed, interval_s)),
        ]

    async def _open_store(self, seams: Seams, config: Config) -> Store:
        store = await self._dialled(seams, config)
        if not config.get("encryption"):
            return store
        rules = encryption.load(config["encryption"], seams)
        await rules.start()
        self._encrypted = encryption.EncryptedStore(store, rules)
        interval_s = float(config.get("config_reload_s") or followed_file.INTERVAL_S)
        self._files.append(
            encryption.following(self._encrypted, config["encryption"], seams, interval_s)
        )
        return cast(Store, self._encrypted)

    async def _dialled(self, seams: Seams, config: Config) -> Store:
        if self._given_store is not None:
            return self._given_store
        self._client = StoreClient(list(config["store"]), config.get("store_tls"))
        await self._client.start(seams)
        return self._client

    def _compose(self, store: Store) -> None:
        seams, config = self._seams, self._config
        served = table.served(config.get("runtime_config") or ())
        own = {r: ResourceCache(r, table.strategy(r).fields) for r in served}
        caches = cache.by_prefix(own)
        self._feed = Feed(store, seams, caches)
        self._allocator = Allocator(
            store, str(config["service_cidr"]), seams.randomness, self._service_cidrs
        )
        ttl_s = int(config.get("event_ttl_s") or EVENT_TTL_S)
        leases = SharedLeases(store, seams, ttl_s)
        guard = NamespaceGuard(store, caches["/registry/namespaces/"])
        plugins = selection.read(config)
        counted = "ResourceQuota" in plugins.names
        quotas = Quotas(
            store,
            caches["/registry/resourcequotas/"],
            self._feed,
            counted,
            plugins.of("ResourceQuota").get("limitedResources") or (),
        )
        env = Environment(store, seams, self._feed, self._allocator, leases, guard, quotas)
        self._catalogue = Catalogue()
        self._kept = self._catalogue.kept
        for resource in served:
            registry = Registry(resource, table.strategy(resource), own[resource], env)
            lister = Lister(store, self._feed, own[resource])
            warning = table.WARNINGS.get(f"{resource.api_version}/{resource.plural}", "")
            kept = Kept(resource, registry, lister, self._feed, warning=warning)
            self._catalogue.put(f"{resource.api_version}/{resource.plural}", [kept])
        self._compose_definitions(store, env)
        assert self._feed is not None
        secured = security.compose(seams, config, self._kept, self._feed)
        statuses = ComponentStatuses(store.status, self._lease, lambda: seams.clock.wall())
        bindings = resources.find("v1/bindings")
        self._catalogue.ask([*secured.reviews.resources, *statuses.resources, bindings])
        self._files += secured.files
        self._legacy = secured.legacy_tokens
        self._auditor, self._fairness = secured.auditor, secured.fairness
        classes = self._kept["scheduling.k8s.io/v1/priorityclasses"].registry.cache
        self._classes: Registered[dict[str, Any]] = Registered(classes, lambda obj: obj)
        toleration_s = int(config.get("default_toleration_s", TOLERATION_S))
        usual = default_plugins(
            self._find_account,
            self._find_class,
            toleration_s,
            lambda: name_suffix(seams),
            secured.node_restriction,
        )
        world = World(seams, self._catalogue, secured, self._webhook_client)
        self._context = Context(
            seams,
            self._catalogue,
            self._feed,
            compose.chain(world, usual, plugins),
            KubeletClient(seams, config.get("kubelet_tls")),
            Metrics(),
            secured.lookup,
            secured.issuer,
            self._draining,
        )
        self._aggregation = Aggregation(
            seams, config.get("proxy_client") or {}, self._catalogue, secured.lookup, self._feed
        )
        self._discovery = CurrentDiscovery(self._catalogue, self._aggregation)
        openapi = OpenApi(self._catalogue, GIT_VERSION, self._aggregation.schemas)
        health = HealthPages({"ping": lambda: ""}, self._checks())
        keys = openid.OpenIdPages(secured.issuer, f"https://{config['address']}{openid.JWKS}")
        pages = [health.answer, self._page, self._discovery.answer, openapi.answer, keys.answer]
        self._app = App(
            self._context, secured, pages, (secured.reviews, statuses), self._aggregation
        )

    def _service_cidrs(self) -> list[dict[str, Any]]:
        """The networks that Services get their addresses from, as the cache knows them."""
        kept = self._kept["networking.k8s.io/v1/servicecidrs"]
        entries = kept.registry.cache.entries(keys.prefix(kept.resource))
        return [entry.decode() for entry in entries]

    def _compose_definitions(self, store: Store, env: Environment) -> None:
        """Custom resources: followed, served, and their definitions' status kept."""
        assert self._feed is not None
        kept = self._kept[definition.KEY]
        webhooks = self._webhook_client(WebhookIdentities({}))
        parts = Parts(store, self._seams, self._feed, env, webhooks, kept.registry.cache)
        self._definitions = Definitions(parts, self._catalogue)
        self._definition_controller = DefinitionController(parts, kept)

    def _webhook_client(self, identities: WebhookIdentities) -> WebhookClient:
        client = WebhookClient(self._seams, self._service_address, identities)
        self._webhooks.append(client)
        return client

    async def _service_address(self, namespace: str, name: str) -> str:
        """The cluster IP that a webhook's Service has."""
        try:
            service = json_codec.decode(
                await self._kept["v1/services"].registry.get(namespace, name)
            )
        except ApiError as error:
            raise WebhookError(error.message) from error
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return str(spec["externalName"])
        address = spec.get("clusterIP")
        if not address or address == "None":
            raise WebhookError(f'service "{namespace}/{name}" has no cluster IP')
        return str(address)

    def _lease(self, name: str) -> dict[str, Any] | None:
        """One of kube-system, as far as it is known here."""
        registry = self._kept["coordination.k8s.io/v1/leases"].registry
        entry = registry.cache.get(registry.key("kube-system", name))
        return None if entry is None else entry.decode()

    async def _find_account(self, namespace: str, name: str) -> dict[str, Any] | None:
        return await self._find(self._kept["v1/serviceaccounts"], namespace, name)

    async def _find_class(self, name: str) -> dict[str, Any] | None:
        kept = self._kept["scheduling.k8s.io/v1/priorityclasses"]
        if name:
            return await self._find(kept, "", name)
        return next((each for each in self._classes.all if each.get("globalDefault")), None)

    async def _find(self, kept: Kept, namespace: str, name: str) -> dict[str, Any] | None:
        """From the cache; what it does not know is asked of the store."""
        registry = kept.registry
        entry = registry.cache.get(registry.key(namespace, name))
        if entry is not None:
            return entry.decode()
        try:
            return json_codec.decode(await registry.get(namespace, name))
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return None

    # -- in the background -------------------------------------------------------------------

    async def _probe(self) -> None:
        """Ask the store who it is every second: /readyz must not wait for it."""
        assert self._feed is not None
        while True:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    await self._feed.current_revision()
                self._store_problem = ""
            except TimeoutError:
                self._store_problem = "the store does not answer"
            except StoreError as error:
                self._store_problem = str(error) or type(error).__name__
            await self._seams.clock.sleep(PROBE_S)

    async def _maintain(self) -> None:
        """Bootstrap once, then keep this server among the endpoints. Goes on after outages."""
        assert self._membership is not None
        assert self._listener is not None
        assert self._feed is not None
        while True:
            delay_s = REFRESH_S
            try:
                if not self._bootstrapped:
                    address = self._allocator.first_address
                    cidr = str(self._config["service_cidr"])
                    await bootstrap.ensure(self._kept, address, self._listener.port, cidr)
                    await self._feed.fresh()
                    await asyncio.gather(
                        roles.ensure(self._kept),
                        flows.ensure(self._kept),
                        authentication_info.ensure(self._kept["v1/configmaps"], self._config),
                        cluster_info.ensure(self._kept["v1/configmaps"], self._config),
                        self._legacy.begin(),
                    )
                    self._bootstrapped = True
                await self._membership.refresh()
            except (ApiError, StoreError) as error:
                log.info("waiting for the store: %s", error)
                delay_s = REFRESH_S if self._bootstrapped else 0.1
            except Exception:
                log.exception("the server's own objects could not be kept up to date")
            await self._seams.clock.sleep(delay_s)

    # -- pages -------------------------------------------------------------------------------

    def _checks(self) -> dict[str, Any]:
        return {
            "etcd": lambda: self._store_problem,
            "kms-providers": lambda: self._encrypted.rules.problem if self._encrypted else "",
            "informer-sync": lambda: "" if self._following() else "the caches are loading",
            "poststarthook/bootstrap": lambda: "" if self._bootstrapped else "not finished",
            "poststarthook/rbac/bootstrap-roles": lambda: (
                "" if self._bootstrapped else "not finished"
            ),
            "autoregister-completion": lambda: (
                "" if self._aggregation.registered else "not finished"
            ),
            "shutdown": lambda: "process is shutting down" if self._leaving else "",
        }

    def _following(self) -> bool:
        return self._feed is not None and self._feed.ready.is_set()

    def _page(self, request: Request) -> Response | None:
        path = request.path.rstrip("/")
        if path == "/version":
            return Response(200, json_codec.encode(version()))
        if path == "/metrics":
            return Response(200, self._metrics(), "text/plain; version=0.0.4; charset=utf-8")
        if not path:
            paths = [*self._discovery.paths, "/healthz", "/livez", "/metrics", "/openapi/v2"]
            paths += ["/openapi/v3", "/readyz", "/version", *openid.PATHS]
            return Response(200, json_codec.encode({"paths": sorted(paths)}))
        return None

    def _metrics(self) -> bytes:
        assert self._feed is not None
        assert self._listener is not None
        objects = sum(len(kept.registry.cache) for kept in self._kept.values())
        gauges = [
            ("apiserver_storage_objects", "objects in the watch caches", float(objects)),
            ("apiserver_cache_revision", "store revision reached", float(self._feed.revision)),
            ("apiserver_connections", "open connections", float(self._listener.connections)),
            ("apiserver_store_up", "1 while the store answers", float(not self._store_problem)),
        ]
        return self._context.metrics.text(gauges)

    # -- the rest of the component protocol --------------------------------------------------

    async def health(self) -> Health:
        problems = [f"{name}: {p}" for name, check in self._checks().items() if (p := check())]
        revision = self._feed.revision if self._feed is not None else 0
        facts = {"revision": revision, "watchers": self._context.metrics.watchers}
        return Health(not problems, "; ".join(problems), facts)

    async def stop(self) -> None:
        """Leave the endpoints, end watches cleanly, finish requests, let go of the address."""
        self._leaving = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._membership is not None:
            with contextlib.suppress(ApiError, StoreError, TimeoutError):
                async with asyncio.timeout(LEAVE_TIMEOUT_S):
                    await self._membership.leave()
        if self._listener is not None:
            delay_s = float(self._config.get("shutdown_delay_s") or 0)
            await self._seams.clock.sleep(delay_s)  # who balances the load sees it go
            self._draining.set()
            await self._listener.stop()
        if getattr(self, "_definitions", None) is not None:
            await self._aggregation.stop()
            await self._definition_controller.stop()
            await self._definitions.stop()
            for client in self._webhooks:
                client.close()
        if self._feed is not None:
            await self._feed.stop()
        if self._client is not None:
            await self._client.stop()
        if self._encrypted is not None:
            await self._encrypted.rules.stop()
        if self._auditor is not None:
            await self._auditor.log.stop()


def _followed_certificate(tls: ssl.SSLContext, config: Config, seams: Seams) -> FollowedFile:
    """New connections are served with a new certificate as soon as its files are there."""
    cert, key = config["tls"]["cert"], config["tls"]["key"]

    async def use(text: bytes) -> None:
        try:  # elsewhere first: a context is of no use after a key that does not fit
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
        except ssl.SSLError as error:  # one of the two files is not there yet
            raise ValueError(str(error)) from error
        tls.load_cert_chain(cert, key)

    interval_s = float(config.get("config_reload_s") or followed_file.INTERVAL_S)
    return FollowedFile(cert, seams.clock, use, interval_s)


def version() -> dict[str, str]:
    """What `/version` says; kubectl compares major and minor with its own."""
    return {
        "major": "1",
        "minor": "34",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": f"python{platform.python_version()}",
        "platform": f"linux/{platform.machine()}",
    }
