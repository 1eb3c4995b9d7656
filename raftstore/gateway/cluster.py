"""Service Cluster: who the members are, and changes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from raftstore.errors import BadPeerAddress
from raftstore.gateway import protocol_pb2 as pb
from raftstore.gateway.calls import Calls
from raftstore.gateway.core import Asker, Core
from raftstore.types import Member


class Cluster:
    """`peer_scheme`: of the URLs at which members reach one another, http or https."""

    name = "etcdserverpb.Cluster"

    def __init__(self, core: Core, calls: Calls, peer_scheme: str) -> None:
        self._core, self._calls, self._scheme = core, calls, peer_scheme

    def methods(self) -> Mapping[str, Any]:
        unary = self._calls.unary
        return {
            "MemberAdd": unary(pb.MemberAddRequest, self.add),
            "MemberRemove": unary(pb.MemberIdRequest, self.remove),
            "MemberUpdate": unary(pb.MemberUpdateRequest, self.update),
            "MemberPromote": unary(pb.MemberIdRequest, self.promote),
            "MemberList": unary(pb.MemberListRequest, self.known),
        }

    async def add(self, request: Any, asker: Asker) -> Any:
        await self._core.check_administrator(asker)
        added, known = await self._core.store.member_add(
            _addresses(request.peerURLs), request.isLearner
        )
        return pb.MemberAddResponse(
            header=self._core.header_without_revision(),
            member=self._member(added),
            members=self._members(known.members),
        )

    async def remove(self, request: Any, asker: Asker) -> Any:
        await self._core.check_administrator(asker)
        return self._answer((await self._core.store.member_remove(request.ID)).members)

    async def update(self, request: Any, asker: Asker) -> Any:
        await self._core.check_administrator(asker)
        addresses = _addresses(request.peerURLs)
        return self._answer((await self._core.store.member_update(request.ID, addresses)).members)

    async def promote(self, request: Any, asker: Asker) -> Any:
        await self._core.check_administrator(asker)
        return self._answer((await self._core.store.member_promote(request.ID)).members)

    async def known(self, request: Any, asker: Asker) -> Any:
        return self._answer((await self._core.store.member_list()).members)

    def _answer(self, members: Sequence[Member]) -> Any:
        return pb.MembersResponse(
            header=self._core.header_without_revision(), members=self._members(members)
        )

    def _members(self, members: Iterable[Member]) -> list[Any]:
        return [self._member(member) for member in sorted(members)]

    def _member(self, member: Member) -> Any:
        return pb.Member(
            ID=member.id,
            name=member.name,
            peerURLs=[f"{self._scheme}://{address}" for address in member.peer_addresses],
            clientURLs=member.client_urls,
            isLearner=member.learner,
        )


def _addresses(urls: Iterable[str]) -> list[str]:
    """Host and port of each. Raises BadPeerAddress."""
    addresses = []
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.path not in ("", "/"):
            raise BadPeerAddress(f"{url} is not of the form http://host:port")
        addresses.append(parts.netloc)
    return addresses
