"""A member that joins, before it knows who it is."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from actors.seams import system_seams
from raftstore.raft.entrance import Entrance


class _FailingDisk:
    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise OSError(errno.EIO, "the disk failed")

        return fail


def test_a_disk_that_fails_when_the_member_is_told_who_it_is_stops_the_member() -> None:
    """Not the link that told it: nobody would notice."""

    async def scenario() -> None:
        seams = replace(system_seams(), disk=_FailingDisk())
        beginning, transport = SimpleNamespace(name="m"), SimpleNamespace(identity=None)
        entrance = Entrance(seams, "/folder", beginning, transport, None)  # type: ignore[arg-type]
        entrance.adopt(1, 2)
        with pytest.raises(OSError, match="the disk failed"):
            await entrance.wait()

    asyncio.run(scenario())
