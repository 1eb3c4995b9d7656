"""Connections to the servers behind APIServices, under the certificate of the front proxy."""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Mapping

from actors.seams import Seams
from cluster.apiserver.endpoints import Address
from cluster.apiserver.proxying.answers import BackendError
from cluster.client.connection import Connection, ConnectionLost
from cluster.client.errors import Unreachable
from cluster.client.pool import Pool, Server
from cluster.machinery.apiservices import ApiService

REQUESTS, STREAMS = 256, 2048
"""Connections to one address at once."""
ATTEMPTS = 3
"""Connections that were kept may have ended unnoticed."""


class Exchange:
    """An answer that is read piece by piece. Close it in any case."""

    def __init__(
        self, status: int, headers: Mapping[str, str], connection: Connection, pool: Pool
    ) -> None:
        self.status, self.headers, self.connection = status, headers, connection
        self._pool = pool
        self._open = True

    async def chunk(self) -> bytes:
        """The next piece of the body; b"" at its end. Raises BackendError."""
        try:
            return await self.connection.chunk()
        except ConnectionLost as error:
            raise BackendError(f"the answer broke off: {error}") from error

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self.connection.switched:  # it speaks HTTP no more
            self.connection.close()
        self._pool.release(self.connection)


class Link:
    """To the server behind one APIService, at whichever of its addresses."""

    def __init__(self, seams: Seams, service: ApiService, identity: Mapping[str, str]) -> None:
        """`identity`: files under `cert` and `key`; none: no certificate is shown.

        Raises BackendError if the CA bundle cannot be read.
        """
        self._seams, self._service = seams, service
        self._tls = _context(service, identity)
        self._pools: dict[tuple[Address, bool], Pool] = {}

    async def exchange(
        self, address: Address, message: bytes, *, long: bool = False, repeatable: bool = False
    ) -> Exchange:
        """Send a request and wait for the head of the answer. Raises BackendError.

        `long`: the answer may stream for hours; `repeatable`: sending it twice does no harm.
        """
        pool = self._pool(address, long)
        attempt = 0
        while True:
            attempt += 1
            connection = await self._acquire(pool)
            sent = False
            try:
                connection.send(message)
                sent = True
                status, headers = await connection.head()
            except ConnectionLost as error:
                pool.release(connection)
                if attempt == ATTEMPTS or (sent and not repeatable):
                    raise BackendError(str(error)) from error
            except BaseException:
                connection.close()
                pool.release(connection)
                raise
            else:
                return Exchange(status, headers, connection, pool)

    async def _acquire(self, pool: Pool) -> Connection:
        try:
            return await pool.acquire()
        except Unreachable as error:
            raise BackendError(_why(error, pool.server)) from error

    def _pool(self, address: Address, long: bool) -> Pool:
        found = self._pools.get((address, long))
        if found is None:
            host, port = address
            name = self._service.service.host if self._service.service else host
            server = Server(f"https://{host}:{port}", host, port, True, name)
            limit = STREAMS if long else REQUESTS
            found = self._pools[address, long] = Pool(server, self._seams, self._tls, limit)
        return found

    def keep(self, addresses: set[Address]) -> None:
        """Forget what is not among them any more, and with it the connections there."""
        for address, long in list(self._pools):
            if address not in addresses:
                self._pools.pop((address, long)).close()

    def close(self) -> None:
        self.keep(set())


def _context(service: ApiService, identity: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if service.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif service.ca_bundle:
        try:
            context.load_verify_locations(cadata=base64.b64decode(service.ca_bundle).decode())
        except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
            raise BackendError(f"unable to load root certificates: {error}") from error
    else:
        context.load_default_certs()
    if identity.get("cert"):
        context.load_cert_chain(identity["cert"], identity["key"])
    return context


def _why(error: Exception, server: Server) -> str:
    """As Go's dialer says it."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {cause.verify_message}"
    where = f"dial tcp {server.host}:{server.port}"
    if isinstance(cause, ConnectionRefusedError):
        return f"{where}: connect: connection refused"
    if isinstance(cause, TimeoutError):
        return f"{where}: i/o timeout"
    return f"{where}: {cause or error}"
