"""A deterministic harness: virtual clock, disks that forget what was not synced, scripted links."""

from __future__ import annotations

import collections
import errno
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import pytest

from raftstore.raft.consensus import Position
from raftstore.raft.interface import Outcome, Timing
from raftstore.raft.membership import Configuration, Peer
from raftstore.raft.pysync import SafeSyncObj
from raftstore.raft.wal import Wal


class VirtualClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def now(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        self.now_s += delay_s

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Timer:
        return Timer()


class Timer:
    def cancel(self) -> None:
        """Timers are fired by the tests."""


class MemoryFile:
    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk
        self.data = bytearray()
        self.durable = b""

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        return bytes(self.data[offset : offset + size_bytes])

    def write_at(self, offset: int, data: bytes) -> None:
        if self._disk.is_full and offset + len(data) > len(self.data):
            raise OSError(errno.ENOSPC, "No space left on device")
        self.data += b"\0" * max(0, offset + len(data) - len(self.data))
        self.data[offset : offset + len(data)] = data

    def allocate(self, size_bytes: int) -> None:
        if self._disk.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.data += b"\0" * max(0, size_bytes - len(self.data))

    def truncate(self, size_bytes: int) -> None:
        del self.data[size_bytes:]

    def sync(self) -> None:
        if self._disk.fails:
            raise OSError("sync failed")
        self._disk.syncs += 1
        self.durable = bytes(self.data)

    def size(self) -> int:
        return len(self.data)

    def close(self) -> None:
        """Nothing to release."""


class MemoryDisk:
    def __init__(self) -> None:
        self.files: dict[str, MemoryFile] = {}
        self.fails = False
        self.is_full = False
        self.syncs = 0

    def open(self, path: str, *, create: bool = False) -> MemoryFile:
        if create and path not in self.files:
            self.files[path] = MemoryFile(self)
        return self.files[path]

    def make_folder(self, path: str) -> None:
        """Folders are implied."""

    def list(self, path: str) -> list[str]:
        names = [p.removeprefix(path + "/") for p in self.files if p.startswith(path + "/")]
        return sorted(name for name in names if "/" not in name)

    def exists(self, path: str) -> bool:
        return path in self.files

    def rename(self, source: str, target: str) -> None:
        self.files[target] = self.files.pop(source)

    def remove(self, path: str) -> None:
        del self.files[path]

    def sync_folder(self, path: str) -> None:
        """Names are durable at once here."""

    def crash(self) -> None:
        """Power loss: only what was synced is left."""
        for file in self.files.values():
            file.data = bytearray(file.durable)


class SimulatedMember:
    """A `SafeSyncObj` whose messages go to queues that the test delivers."""

    def __init__(self, cluster: SimulatedCluster, name: str, disk: MemoryDisk) -> None:
        self.name, self._cluster, self.disk = name, cluster, disk
        self.applied: list[bytes] = []
        self.removed = False
        self.snapshots_wanted: list[str] = []
        self._held: list[tuple[str, Any]] = []
        self.wal = Wal.open(disk, f"/{name}/wal")
        self.raft = SafeSyncObj(
            name,
            Configuration.of({member: Peer((member,), member) for member in cluster.founders}),
            self.wal,
            Position(0, 0),
            Timing((10.0, 12.0), 0.1),
            cluster.clock,
            random.Random(name),
            self,
        )
        self.wal.sync()
        self.raft._expect_election(1e6)
        for peer in cluster.names:
            if peer != name:
                self.raft.link_up(peer)
                if peer in cluster.members:
                    cluster.members[peer].raft.link_up(name)
        self.raft._expect_election(1e6)

    # ---- Owner

    def post(self, peer: str, message: Any) -> bool:
        return self._cluster.send(self.name, peer, message)

    def post_when_durable(self, peer: str, message: Any) -> None:
        self._held.append((peer, message))

    def apply(self, index: int, command: bytes) -> int:
        self.applied.append(command)
        if command == b"boom":
            raise ValueError("boom")
        return index

    def leadership_changed(self) -> None:
        """Seen through `raft`."""

    def other_message(self, peer: str, message: Any) -> None:
        raise AssertionError(f"unexpected {message}")

    def send_snapshot(self, peer: str) -> None:
        self.snapshots_wanted.append(peer)

    def configuration_changed(self) -> None:
        """Seen through `raft`."""

    def configuration_applied(self, configuration: Configuration) -> None:
        self.removed = self.name in configuration.removed

    # ---- driving

    def turn(self) -> None:
        self.raft.doTick(0)
        self.wal.sync()
        held, self._held = self._held, []
        for peer, message in held:
            self._cluster.send(self.name, peer, message)
        if self.raft.has_work:
            self.raft.doTick(0)

    def propose(self, command: bytes) -> list[tuple[Outcome, Any]]:
        outcomes: list[tuple[Outcome, Any]] = []
        self.raft.propose(command, lambda outcome, result: outcomes.append((outcome, result)))
        return outcomes

    def compact(self) -> None:
        """Forget all that is applied, as after a snapshot."""
        self.wal.forget_before(self.raft.applied_index)

    def commands(self) -> list[bytes]:
        return [entry[0][1:] for entry in self.wal.entries if entry[0][:1] == b"\0"]


class SimulatedCluster:
    def __init__(
        self, names: str = "ABC", member: Callable[..., Any] = SimulatedMember, codec: Any = msgpack
    ) -> None:
        """`member(cluster, name, disk)` makes one member; `codec` has `dumps` and `loads`."""
        self.names, self._codec = list(names), codec
        self.clock = VirtualClock()
        self.queues: dict[tuple[str, str], collections.deque[bytes]] = collections.defaultdict(
            collections.deque
        )
        self.cut: set[tuple[str, str]] = set()
        self.founders = list(self.names)
        self.members: dict[str, Any] = {}
        for name in self.names:
            self.members[name] = member(self, name, MemoryDisk())

    def __getitem__(self, name: str) -> Any:
        return self.members[name]

    def send(self, sender: str, receiver: str, message: Any) -> bool:
        if (sender, receiver) not in self.cut:
            self.queues[sender, receiver].append(self._codec.dumps(message))
        return True

    def deliver(self, sender: str, receiver: str, number: int | None = None) -> int:
        """Pass on messages of one link, in order."""
        queue, delivered = self.queues[sender, receiver], 0
        while queue and (number is None or delivered < number):
            self[receiver].raft.receive(sender, self._codec.loads(queue.popleft()))
            delivered += 1
        return delivered

    def run(
        self, names: Sequence[str] | None = None, rounds: int = 20, step_s: float = 0.05
    ) -> None:
        for _ in range(rounds):
            self.clock.now_s += step_s
            for name in names or self.names:
                self[name].turn()
            for sender, receiver in list(self.queues):
                if receiver in (names or self.names):
                    self.deliver(sender, receiver)

    def join(self, name: str) -> Any:
        """Start a member that knows the founders and has an empty disk."""
        self.names.append(name)
        self.members[name] = SimulatedMember(self, name, MemoryDisk())
        return self.members[name]

    def relink(self) -> None:
        """All connections were opened anew."""
        for name in self.names:
            for peer in self.names:
                if peer != name:
                    self[name].raft.link_up(peer)

    def connect_only(self, *groups: str) -> None:
        """Cut all links but those inside a group; what is under way elsewhere stays under way."""
        self.cut = {
            (a, b)
            for a in self.names
            for b in self.names
            if not any(a in group and b in group for group in groups)
        }

    def lose(self) -> None:
        self.queues.clear()

    def elect(self, name: str, among: Sequence[str] | None = None) -> SimulatedMember:
        for member in self.members.values():
            member.raft._leader_seen_s = float("-inf")
        self[name].raft._expect_election(0.0)
        self.run(among)
        assert self[name].raft.is_leader
        return self[name]

    def restart(self, name: str, *, power_loss: bool = True) -> SimulatedMember:
        disk = self[name].disk
        if power_loss:
            disk.crash()
        self.members[name] = SimulatedMember(self, name, disk)
        return self.members[name]


@pytest.fixture
def cluster() -> Callable[..., SimulatedCluster]:
    return SimulatedCluster


@pytest.fixture
def memory_disk() -> MemoryDisk:
    return MemoryDisk()
