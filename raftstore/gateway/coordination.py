"""Services Lock and Election of etcd's v3lock and v3election.

In etcd they are clients of their own member, and pass on the text of its errors without its code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from raftstore import coordination
from raftstore.coordination import Claim, NoLeader, NotHeld
from raftstore.errors import StoreError
from raftstore.gateway import convert
from raftstore.gateway import protocol_pb2 as pb
from raftstore.gateway.calls import Calls
from raftstore.gateway.core import Asker, Core
from raftstore.gateway.status import Relayed, status_of
from raftstore.gateway.view import UserView

DEFAULT_TTL_S = 60
"""Of the lease of a lock that is asked for without one; nobody keeps it alive."""


@contextmanager
def _relaying(lost: str = "mutex: session is expired") -> Iterator[None]:
    """`lost`: what to say if the claim does not stand (any more). Raises Relayed."""
    try:
        yield
    except Relayed:
        raise
    except NotHeld as error:
        raise Relayed(lost) from error
    except NoLeader as error:
        raise Relayed("election: no leader") from error
    except StoreError as error:
        raise Relayed(status_of(error)[1]) from error


class Locks:
    name = "v3lockpb.Lock"

    def __init__(self, core: Core, calls: Calls) -> None:
        self._core, self._calls = core, calls

    def methods(self) -> Mapping[str, Any]:
        return {
            "Lock": self._calls.unary(pb.LockRequest, self.lock),
            "Unlock": self._calls.unary(pb.UnlockRequest, self.unlock),
        }

    async def lock(self, request: Any, asker: Asker) -> Any:
        view = UserView(self._core, asker)
        with _relaying():
            lease = request.lease or (await view.lease_grant(DEFAULT_TTL_S)).id
            claim = await coordination.acquire(view, request.name, lease)
        return pb.LockResponse(header=self._core.header(), key=claim.key)

    async def unlock(self, request: Any, asker: Asker) -> Any:
        with _relaying():
            revision = await coordination.release(UserView(self._core, asker), request.key)
        return pb.HeaderOnly(header=self._core.header(revision))


class Elections:
    name = "v3electionpb.Election"

    def __init__(self, core: Core, calls: Calls) -> None:
        self._core, self._calls = core, calls

    def methods(self) -> Mapping[str, Any]:
        unary = self._calls.unary
        return {
            "Campaign": unary(pb.CampaignRequest, self.campaign),
            "Proclaim": unary(pb.ProclaimRequest, self.proclaim),
            "Leader": unary(pb.LeaderRequest, self.leader),
            "Observe": self._calls.server_stream(pb.LeaderRequest, self.observe),
            "Resign": unary(pb.ResignRequest, self.resign),
        }

    async def campaign(self, request: Any, asker: Asker) -> Any:
        view = UserView(self._core, asker)
        with _relaying():
            lease = request.lease or (await view.lease_grant(DEFAULT_TTL_S)).id
            claim = await coordination.acquire(view, request.name, lease, request.value)
        key = pb.LeaderKey(name=request.name, key=claim.key, rev=claim.revision, lease=lease)
        return pb.CampaignResponse(header=self._core.header(), leader=key)

    async def proclaim(self, request: Any, asker: Asker) -> Any:
        view = UserView(self._core, asker)
        with _relaying("election: not leader"):
            revision = await coordination.proclaim(view, _claim(request), request.value)
        return pb.HeaderOnly(header=self._core.header(revision))

    async def leader(self, request: Any, asker: Asker) -> Any:
        with _relaying():
            found = await coordination.leader(UserView(self._core, asker), request.name)
            return self._leader_response(found)

    async def observe(self, request: Any, asker: Asker) -> AsyncIterator[Any]:
        with _relaying():
            async for found in coordination.observe(UserView(self._core, asker), request.name):
                yield self._leader_response(found)

    async def resign(self, request: Any, asker: Asker) -> Any:
        view = UserView(self._core, asker)
        with _relaying():
            revision = await coordination.resign(view, _claim(request))
        return pb.HeaderOnly(header=self._core.header(revision))

    def _leader_response(self, found: coordination.Found) -> Any:
        """Raises NoLeader."""
        if found.kv is None:
            raise NoLeader("nobody has won")
        header = self._core.header(found.revision)
        return pb.LeaderResponse(header=header, kv=convert.key_value(found.kv))


def _claim(request: Any) -> Claim:
    """Raises Relayed."""
    if not request.HasField("leader"):
        raise Relayed('"leader" field must be provided')
    return Claim(request.leader.key, request.leader.rev, request.leader.lease)
