"""What a log reads when it opens is durable from then on."""

from __future__ import annotations

import random

import msgpack
import pytest

from actors.simulation.disk import MemoryDisk
from raftstore.raft.wal import Wal


@pytest.mark.parametrize("seed", range(20))
def test_what_a_killed_process_wrote_survives_a_power_loss_after_the_restart(seed: int) -> None:
    disk = MemoryDisk(random.Random(seed))
    wal = Wal.open(disk, "/wal")
    wal.append((b"first", 1, 1))
    wal.sync()
    wal.append((b"written, not synced", 2, 1))
    wal._write(msgpack.packb(wal._pending))
    reopened = Wal.open(disk, "/wal")
    durable_index = reopened.durable_index
    disk.crash()
    assert Wal.open(disk, "/wal").last_index >= durable_index == 2
