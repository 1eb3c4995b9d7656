"""`Gateway`: the etcd protocol of one member, as a component.

Config: `{address, endpoints, member, tls, store_tls}`. `address`: host:port to
serve at; `endpoints`: client addresses of all members; `member`: that of the member that this
gateway stands for (whose own config says at which URLs clients find this one); `tls`: `{ca, cert,
key}` files of this server or null (then clients must present a certificate that the CA signed, of
an organization of this server's own); `store_tls`: the files of the links to the members. Optional:
`scratch_folder`, where backups are made before they are sent (the system's temporary folder).
"""

from __future__ import annotations

import asyncio
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import grpc

from actors.component import Config, Health
from actors.seams import Seams
from actors.seams.clock import TimerHandle
from raftstore.client import StoreClient
from raftstore.errors import Unavailable
from raftstore.gateway.calls import MAX_REQUEST_BYTES, Calls
from raftstore.gateway.cluster import Cluster
from raftstore.gateway.coordination import Elections, Locks
from raftstore.gateway.core import Core
from raftstore.gateway.keys import Keys
from raftstore.gateway.leases import Leases
from raftstore.gateway.maintenance import Maintenance
from raftstore.gateway.users import Users
from raftstore.gateway.watches import Watches
from raftstore.identity import own_organizations

TIMEOUT_S = 7.0
"""How long a request waits for a leader: etcd's 5 s and two election timeouts."""
STATUS_S = 1.0
SEARCH_S = 0.1
"""How often the local member is asked while it does not answer or knows no leader."""
GRACE_S = 1.0
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES + (512 << 10)),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Gateway:
    """Serves etcd's clients."""

    def __init__(self) -> None:
        self._server: grpc.aio.Server | None = None
        self._address: str | None = None
        self._timer: TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._reachable = False

    @property
    def address(self) -> str | None:
        return self._address

    async def start(self, seams: Seams, config: Config) -> None:
        """Raises OSError if the address is taken."""
        self._seams = seams
        self._store = StoreClient(config["endpoints"], config.get("store_tls"), TIMEOUT_S)
        await self._store.start(seams)
        self._local = self._store.member(config["member"], TIMEOUT_S)
        allowed = own_organizations(config.get("tls"))
        self._core = Core(seams, self._store, self._local, allowed)
        self._server = grpc.aio.server(options=_OPTIONS)
        for service in self._services(config):
            handler = grpc.method_handlers_generic_handler(service.name, dict(service.methods()))
            self._server.add_generic_rpc_handlers((handler,))
        self._listen(config)
        await self._server.start()
        self._address = config["address"]
        self._keep_status()

    def _services(self, config: Config) -> list[Any]:
        core, calls = self._core, Calls(self._core)
        scratch_folder = config.get("scratch_folder") or tempfile.gettempdir()
        plain = [Keys, Watches, Leases, Users, Locks, Elections]
        return [
            *(kind(core, calls) for kind in plain),
            Maintenance(core, calls, scratch_folder),
            Cluster(core, calls, "https" if config.get("store_tls") else "http"),
        ]

    def _listen(self, config: Config) -> None:
        assert self._server is not None
        files = config.get("tls")
        try:
            if files:
                self._server.add_secure_port(config["address"], _credentials(files))
            else:
                self._server.add_insecure_port(config["address"])
        except RuntimeError as error:
            raise OSError(f"cannot listen at {config['address']}: {error}") from error

    def _keep_status(self) -> None:
        """Headers tell the term and revision that the local member knows."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_status())
        delay_s = STATUS_S if self._reachable else SEARCH_S
        self._timer = self._seams.clock.call_later(delay_s, self._keep_status)

    async def _ask_status(self) -> None:
        try:
            self._reachable = bool((await self._core.status()).leader)
        except Unavailable:
            self._reachable = False

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        if self._server is not None:
            await self._server.stop(GRACE_S)
            self._local.close()
            await self._store.stop()

    async def health(self) -> Health:
        """Ready: the member that it stands for answers, and knows a leader."""
        ready = self._reachable and self._address is not None
        return Health(
            ready, "serving" if ready else "its member does not answer, or knows no leader"
        )


def _credentials(files: Mapping[str, str]) -> grpc.ServerCredentials:
    ca, cert, key = (pathlib.Path(files[name]).read_bytes() for name in ("ca", "cert", "key"))
    return grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)
