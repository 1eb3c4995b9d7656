"""Service KV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raftstore.gateway import convert
from raftstore.gateway import protocol_pb2 as pb
from raftstore.gateway.calls import Calls
from raftstore.gateway.core import Asker, Core
from raftstore.wire import Kind


class Keys:
    name = "etcdserverpb.KV"

    def __init__(self, core: Core, calls: Calls) -> None:
        self._core, self._calls = core, calls

    def methods(self) -> Mapping[str, Any]:
        unary = self._calls.unary
        return {
            "Range": unary(pb.RangeRequest, self.range),
            "Put": unary(pb.PutRequest, self.put),
            "DeleteRange": unary(pb.DeleteRangeRequest, self.delete),
            "Txn": unary(pb.TxnRequest, self.txn),
            "Compact": unary(pb.CompactionRequest, self.compact),
        }

    async def range(self, request: Any, asker: Asker) -> Any:
        op = convert.range_of(request)
        result = await self._core.execute(asker, op, request.serializable)
        return self._with_header(convert.range_response(result), result)

    async def put(self, request: Any, asker: Asker) -> Any:
        result = await self._core.execute(asker, convert.put_of(request))
        return self._with_header(convert.put_response(result), result)

    async def delete(self, request: Any, asker: Asker) -> Any:
        result = await self._core.execute(asker, convert.delete_of(request))
        return self._with_header(convert.delete_response(result), result)

    async def txn(self, request: Any, asker: Asker) -> Any:
        result = await self._core.execute(asker, convert.txn_of(request))
        return self._with_header(convert.txn_response(result), result)

    async def compact(self, request: Any, asker: Asker) -> Any:
        """What is compacted is gone at once, so `physical` makes no difference."""
        revision = await self._core.command(asker, Kind.COMPACT, request.revision)
        return pb.HeaderOnly(header=self._core.header(revision))

    def _with_header(self, response: Any, result: Any) -> Any:
        response.header.CopyFrom(self._core.header(result.revision))
        return response
