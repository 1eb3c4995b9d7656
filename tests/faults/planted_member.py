"""A member with a bug on purpose: `python planted_member.py BUG CONFIG.json SEED`."""

from __future__ import annotations

import runpy
import sys
from typing import Any

from actors.faults.disk import LossyFile
from raftstore.raft.node import RaftNode


def _no_sync() -> None:
    LossyFile.sync = lambda self: None  # type: ignore[method-assign]


def _no_read_index() -> None:
    def read_barrier(self: Any, done: Any) -> None:
        done(self.raft.is_leader)

    RaftNode.read_barrier = read_barrier  # type: ignore[method-assign]


BUGS = {"no sync": _no_sync, "no read index": _no_read_index}

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    runpy.run_module("raftstore.faults.process", run_name="__main__")
