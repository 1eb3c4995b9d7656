"""Service Maintenance."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from actors.seams.disk import File
from raftstore.backup.file import parts, write
from raftstore.errors import (
    BadTransferee,
    Compacted,
    InvalidRequest,
    MemberNotFound,
    Unavailable,
)
from raftstore.gateway import protocol_pb2 as pb
from raftstore.gateway.calls import Calls
from raftstore.gateway.core import LATEST_VERSION, Asker, Core
from raftstore.types import AlarmKind
from raftstore.wire import Kind

ALARMS: dict[int, AlarmKind] = {pb.NOSPACE: "nospace", pb.CORRUPT: "corrupt"}
ALARM_NUMBERS: dict[str, Any] = {kind: number for number, kind in ALARMS.items()}
NEVER_COMPACTED = -1
PIECE_S = 30.0
"""How long the member may take for one piece of a backup."""
_logger = logging.getLogger(__name__)


class Maintenance:
    """`scratch_folder`: where backups are made before they are sent."""

    name = "etcdserverpb.Maintenance"

    def __init__(self, core: Core, calls: Calls, scratch_folder: str) -> None:
        self._core, self._calls, self._scratch_folder = core, calls, scratch_folder

    def methods(self) -> Mapping[str, Any]:
        unary = self._calls.unary
        return {
            "Alarm": unary(pb.AlarmRequest, self.alarm),
            "Status": unary(pb.Nothing, self.status),
            "Defragment": unary(pb.Nothing, self.defragment),
            "Hash": unary(pb.Nothing, self.hash),
            "HashKV": unary(pb.HashKVRequest, self.hash_kv),
            "MoveLeader": unary(pb.MoveLeaderRequest, self.move_leader),
            "Snapshot": self._calls.server_stream(pb.Nothing, self.snapshot),
        }

    async def alarm(self, request: Any, asker: Asker) -> Any:
        """The alarms of a kind (NONE: all), or the one that was raised or cleared."""
        raised = [tuple(fields) for fields in await self._core.query(asker, Kind.ALARMS)]
        if request.action == pb.AlarmRequest.GET:
            wanted = (ALARMS.get(request.alarm), *(ALARMS.values() if not request.alarm else ()))
            return self._alarms(alarm for alarm in raised if alarm[1] in wanted)
        if request.alarm not in ALARMS:
            raise InvalidRequest("no such alarm")
        changed = request.memberID, ALARMS[request.alarm]
        activate = request.action == pb.AlarmRequest.ACTIVATE
        if not activate and changed not in raised:
            return self._alarms(())
        await self._core.command(asker, Kind.ALARM, "raise" if activate else "clear", *changed)
        return self._alarms([changed])

    def _alarms(self, alarms: Any) -> Any:
        return pb.AlarmResponse(
            alarms=[
                pb.AlarmMember(memberID=member_id, alarm=ALARM_NUMBERS[kind])
                for member_id, kind in alarms
            ],
        )

    async def status(self, request: Any, asker: Asker) -> Any:
        status = await self._core.status()
        return pb.StatusResponse(
            header=self._core.header(status.revision),
            version=LATEST_VERSION,
            dbSize=status.db_size_bytes,
            dbSizeInUse=status.db_size_bytes,
            leader=status.leader_id,
            raftIndex=status.raft_index,
            raftTerm=status.term,
            raftAppliedIndex=status.applied_index,
            errors=[] if status.leader else ["etcdserver: no leader"],
        )

    async def defragment(self, request: Any, asker: Asker) -> Any:
        await self._core.check_administrator(asker)
        _logger.info("asked to defragment: there is nothing to do, compaction frees all it can")
        return pb.HeaderOnly()

    async def hash(self, request: Any, asker: Asker) -> Any:
        await self._core.check_administrator(asker)
        hashed = await self._core.local.hash_kv()
        return pb.HashResponse(header=self._core.header(hashed.revision), hash=hashed.hash)

    async def hash_kv(self, request: Any, asker: Asker) -> Any:
        await self._core.check_administrator(asker)
        hashed = await self._core.local.hash_kv(request.revision)
        if 0 < request.revision <= hashed.compact_revision:
            raise Compacted(hashed.compact_revision)
        return pb.HashKVResponse(
            header=self._core.header(hashed.revision),
            hash=hashed.hash,
            compact_revision=hashed.compact_revision or NEVER_COMPACTED,
        )

    async def move_leader(self, request: Any, asker: Asker) -> Any:
        await self._core.check_administrator(asker)
        try:
            await self._core.store.move_leader(request.targetID)
        except MemberNotFound as error:
            raise BadTransferee("no voting member has this id") from error
        return pb.HeaderOnly(header=self._core.header())

    async def snapshot(self, request: Any, asker: Asker) -> AsyncIterator[Any]:
        """A database of etcd's form, piece by piece, and its SHA-256 at the end.

        It is made in a file without a name first: its first page tells where everything is.
        """
        await self._core.check_administrator(asker)
        async with self._core.store.member(self._core.local.endpoint, PIECE_S) as member:
            with self._scratch() as file:
                remaining = await write(file, member.export()) + hashlib.sha256().digest_size
                digest = hashlib.sha256()
                for blob in parts(file, remaining - digest.digest_size):
                    digest.update(blob)
                    remaining -= len(blob)
                    yield self._piece(blob, remaining)
        yield self._piece(digest.digest(), 0)

    def _piece(self, blob: bytes, remaining: int) -> Any:
        header = self._core.header()
        return pb.SnapshotResponse(header=header, remaining_bytes=remaining, blob=blob)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[File]:
        disk, number = self._core.seams.disk, self._core.seams.randomness.getrandbits(64)
        path = f"{self._scratch_folder}/store-snapshot-{number:x}"
        try:
            file = disk.open(path, create=True)
            try:
                disk.remove(path)
                yield file
            finally:
                file.close()
        except OSError as error:
            raise Unavailable(f"no backup can be made in {self._scratch_folder}") from error
