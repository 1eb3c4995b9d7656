"""Every controller acts as its own service account of kube-system, with its own few rights.

As upstream's --use-service-account-credentials: the manager's own identity only follows objects
and asks for these tokens.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)

NAMESPACE = "kube-system"
TOKEN_S = 3600
RENEW_S = 0.8 * TOKEN_S
RETRY_S = (0.1, 5.0)


class Accounts:
    """One client per account; `run` keeps their tokens fresh. Close it at the end."""

    def __init__(self, client: Client, seams: Seams) -> None:
        self._client, self._seams = client, seams
        self._clients: dict[str, Client] = {}

    async def open(self, names: Iterable[str]) -> None:
        """Clients for all these accounts; goes on trying until there are."""
        await asyncio.gather(*(self._open(name) for name in set(names)))

    def client(self, name: str) -> Client:
        """Of an account that was opened."""
        return self._clients[name]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._seams.clock.sleep(RENEW_S)
            await asyncio.gather(*(self._renew(name) for name in self._clients))

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients.values()))
        self._clients.clear()

    async def _open(self, name: str) -> None:
        token = await self._token(name)
        config = dataclasses.replace(self._client.config, cert="", key="", token=token)
        agent = f"{self._client.user_agent}/{name}"
        self._clients[name] = Client(config, self._seams, agent, term=self._client.term)

    async def _renew(self, name: str) -> None:
        self._clients[name].token = await self._token(name)

    async def _token(self, name: str) -> str:
        delay_s = RETRY_S[0]
        while True:
            try:
                return await self._request(name)
            except (ApiError, ClientError) as error:
                log.warning("no token for the controllers' account %s yet: %s", name, error)
            await self._seams.clock.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_S[1])

    async def _request(self, name: str) -> str:
        request: dict[str, object] = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_S},
        }
        try:
            answer = await self._create_token(name, request)
        except ApiError as error:
            if error.code != 404:
                raise
            await self._create_account(name)
            answer = await self._create_token(name, request)
        return str(answer["status"]["token"])

    async def _create_token(self, name: str, request: dict[str, object]) -> dict[str, Any]:
        return await self._client.create(
            "serviceaccounts", request, NAMESPACE, subresource="token", name=name
        )

    async def _create_account(self, name: str) -> None:
        metadata = {"name": name, "namespace": NAMESPACE}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        try:
            await self._client.create("serviceaccounts", account)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
