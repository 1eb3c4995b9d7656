"""What all services of one gateway share: the store, who asks, and the head of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import grpc

from actors.seams import Seams
from raftstore import passwords, tokens, wire
from raftstore.client import StoreClient
from raftstore.endpoint import MemberClient
from raftstore.errors import (
    AuthFailed,
    AuthNotEnabled,
    InvalidAuthToken,
    PermissionDenied,
    UserNotFound,
)
from raftstore.gateway import protocol_pb2 as pb
from raftstore.identity import Organizations, organizations
from raftstore.mvcc import txn
from raftstore.tokens import Token
from raftstore.types import MemberStatus, Op, Range, Txn
from raftstore.wire import Kind

LATEST_VERSION = "3.4.23"
"""The version of etcd whose protocol this is; clients decide by it what they may ask."""


BY_CERTIFICATE = -1


class Asker(NamedTuple):
    """Who sent a request; no name: nobody in particular.

    `revision`: that of the token, or BY_CERTIFICATE.
    """

    user: str = ""
    revision: int = 0

    def wrap(self, operation: Sequence[Any]) -> list[Any]:
        """The operation as one that needs the user's permission."""
        return [Kind.AS_USER, self.user, self.revision, operation]


class AuthKey(NamedTuple):
    """What tokens are verified with."""

    enabled: bool = False
    revision: int = 0
    secret: bytes = b""


class Core:
    """`local`: the member that this gateway stands for."""

    def __init__(
        self, seams: Seams, store: StoreClient, local: MemberClient, allowed: Organizations
    ) -> None:
        self.seams, self.store, self.local, self._allowed = seams, store, local, allowed
        self._cluster_id = self._member_id = 0
        self._auth = AuthKey()
        self._revision = 0
        self._term = 0

    # ---- operations

    async def execute(self, asker: Asker, op: Op, serializable: bool = False) -> Any:
        """The result of an operation; serializable reads are those of the local member."""
        operation = asker.wrap(wire.encode_op(op))
        if not isinstance(op, Range) and not (isinstance(op, Txn) and txn.is_read_only(op)):
            answer = await self.store.command(operation)
        elif serializable:
            answer = await self.local.query(operation)
        else:
            answer = await self.store.query(operation)
        return wire.decode_result(op, answer)

    async def command(self, asker: Asker, *operation: Any) -> Any:
        return await self.store.command(asker.wrap(operation))

    async def query(self, asker: Asker, *operation: Any) -> Any:
        return await self.store.query(asker.wrap(operation))

    async def check_administrator(self, asker: Asker) -> None:
        """Raises PermissionDenied for all others, once authentication is required."""
        await self.query(asker, Kind.AUTH_STATE, "users", "")

    # ---- headers

    def header(self, revision: int = 0) -> pb.ResponseHeader:
        """`revision` 0: the newest that this gateway knows of."""
        self._revision = max(self._revision, revision)
        return pb.ResponseHeader(
            cluster_id=self._cluster_id,
            member_id=self._member_id,
            revision=revision or self._revision,
            raft_term=self._term,
        )

    def header_without_revision(self) -> pb.ResponseHeader:
        """Of what etcd answers from elsewhere than the keys."""
        return pb.ResponseHeader(
            cluster_id=self._cluster_id, member_id=self._member_id, raft_term=self._term
        )

    async def status(self) -> MemberStatus:
        """Of the local member. Raises Unavailable."""
        status = await self.local.status()
        self._member_id = status.member_id
        if not self._cluster_id:
            members = await self.store.member_list(linearizable=False)
            self._cluster_id = members.cluster_id
        self._revision = max(self._revision, status.revision)
        self._term = max(self._term, status.term)
        return status

    # ---- who asks

    async def identify(self, context: grpc.aio.ServicerContext) -> Asker:
        """By token, else by the common name of the client's certificate. Raises AuthError.

        A certificate must be of one of the store's organizations, as for the store itself.
        """
        peer = context.auth_context()
        by_certificate = "x509_pem_cert" in peer
        if by_certificate and not self._is_allowed(peer["x509_pem_cert"][0]):
            raise PermissionDenied("the certificate is not of the store's users")
        for name, value in context.invocation_metadata() or ():
            if name in ("token", "authorization") and value:
                return await self._owner(str(value))
        names = peer.get("x509_common_name", [b""])
        return Asker(names[0].decode(), BY_CERTIFICATE) if by_certificate else Asker()

    def _is_allowed(self, pem: bytes) -> bool:
        return not self._allowed or bool(self._allowed & organizations(pem))

    async def _owner(self, text: str) -> Asker:
        try:
            token = self._verify(text)
        except InvalidAuthToken:
            self._auth = AuthKey(*await self.store.query([Kind.AUTH_STATE, "token", ""]))
            if not self._auth.enabled:
                return Asker()
            token = self._verify(text)
        return Asker(token.user, token.revision)

    def _verify(self, text: str) -> Token:
        return tokens.verify(text, self._auth.secret, self.seams.clock.wall())

    async def authenticate(self, name: str, password: str) -> str:
        """A token. Raises AuthFailed, AuthNotEnabled."""
        if not (await self.store.auth_status()).enabled:
            raise AuthNotEnabled("nobody needs to authenticate")
        try:
            hashed, revision, secret = await self.store.query([Kind.AUTH_STATE, "password", name])
        except UserNotFound as error:
            raise AuthFailed("no such user or another password") from error
        if not await asyncio.to_thread(passwords.matches, password, hashed):
            raise AuthFailed("no such user or another password")
        expires_s = int(self.seams.clock.wall()) + tokens.TTL_S
        return tokens.sign(Token(name, revision, expires_s), secret)
