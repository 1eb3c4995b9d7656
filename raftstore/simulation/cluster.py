"""The members of one simulated cluster: real ones, on machines that fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

from actors.seams.randomness import seeded_randomness
from actors.simulation.loop import VirtualLoop
from actors.simulation.machine import Machine
from actors.simulation.network import Fabric
from actors.simulation.trace import Trace
from raftstore.client import StoreClient
from raftstore.member import Member
from raftstore.raft.consensus import SafetyViolation
from raftstore.raft.membership import MemberRemoved
from raftstore.raft.snapshot import CorruptSnapshot
from raftstore.raft.wal import CorruptLog
from raftstore.types import Event
from raftstore.verify.history import Applied

PEER_PORT, CLIENT_PORT = 1, 2
SEGMENT_BYTES, CHUNK_BYTES = 16 << 10, 2 << 10
"""Small, so that the log of a minute has many segments, and a snapshot many chunks."""
_logger = logging.getLogger(__name__)


class SimulatedCluster:
    """Members "A", "B", ... and as many clients as are asked for."""

    def __init__(self, loop: VirtualLoop, seed: int, members: int) -> None:
        self.loop, self.trace, self.applied = loop, Trace(), Applied()
        self.fabric = Fabric(loop, seeded_randomness(f"{seed}/network"), self.trace)
        self.founders = [chr(ord("A") + number) for number in range(members)]
        self.names = list(self.founders)
        """Of those that take part, or are to."""
        self.machines = {n: Machine(n, self.fabric, str(seed)) for n in self.names}
        self.members: dict[str, Member | None] = dict.fromkeys(self.names)
        self._joining: dict[str, asyncio.Task[None]] = {}
        self.refusing: dict[str, str] = {}
        """Members whose disk lost what it had promised to keep: they do not start."""
        self.changing = False
        """Members come and go."""
        self.damaged: set[str] = set()
        """Members whose disk was damaged: only they may refuse to start."""
        self.last_words: dict[str, str] = {}
        """Members that lose power right after they send a message of this type."""
        self.violations: list[str] = []
        self.leading_s: list[float] = []
        """When members began to lead."""
        self._seed = seed

    @property
    def endpoints(self) -> list[str]:
        return [f"{name}:{CLIENT_PORT}" for name in self.names]

    @property
    def counting_endpoints(self) -> list[str]:
        return [f"{name}:{CLIENT_PORT}" for name, _ in self._counting()]

    def add(self) -> str:
        """A machine for a member that is to join; its name."""
        name = chr(ord("A") + len(self.machines))
        self.machines[name] = Machine(name, self.fabric, str(self._seed))
        self.members[name] = None
        self.names.append(name)
        return name

    async def start(self, name: str) -> None:
        """Boot a machine and its member; one that joins starts when it is called."""
        if name in self.founders:
            await self._start(name)
        else:
            if name in self._joining:
                self._joining[name].cancel()
            self._joining[name] = asyncio.create_task(self._start(name))

    async def _start(self, name: str) -> None:
        """One that cannot start stays down."""
        seams = self.machines[name].boot()
        member = Member()
        self._observe(name, member)
        self.members[name] = member
        try:
            await member.start(seams, self._config(name))
            self._listen_for_last_words(name, member)
        except (CorruptLog, CorruptSnapshot) as error:
            self.refusing[name] = str(error)
            if name not in self.damaged:
                self.violations.append(f"{name} refuses to start, and nothing is damaged: {error}")
            self.stop(name, power_loss=True)
        except (OSError, MemberRemoved) as error:
            _logger.info("%s does not start: %s", name, error)
            self.stop(name, power_loss=False)

    def _listen_for_last_words(self, name: str, member: Member) -> None:
        assert member._node is not None
        transport, machine = member._node.transport, self.machines[name]
        process, send = machine.process, transport.send

        def send_and_fall(peer: str, message: dict[str, Any]) -> bool:
            sent = send(peer, message)
            last = sent and machine.process is process and process is not None and process.alive
            if last and self.last_words.get(name) == message["type"]:
                del self.last_words[name]
                self.trace.add(self.loop.time(), "last words", name, message["type"])
                self.stop(name, power_loss=True)
            return sent

        transport.send = send_and_fall  # type: ignore[method-assign]

    def transfer(self, target: str) -> None:
        """Ask whoever leads to hand over to `target`."""
        for name in self.leaders:
            node = cast(Member, self.members[name])._node
            if node is None or name == target:
                continue
            for key in node.raft.voters:
                if node.raft.configuration.name_of(key) == target:
                    node.move_leader(key, lambda moved: None)
                    break

    def stop(self, name: str, *, power_loss: bool) -> None:
        self.examine(name)
        self.machines[name].kill(power_loss=power_loss)
        self.members[name] = None

    def examine(self, name: str) -> None:
        """A disk may stop a member; that a rule of Raft was broken, never."""
        member = self.members[name]
        if member is not None and isinstance(member._failure, SafetyViolation):
            self.violations.append(f"{name} stopped: {member._failure}")

    def is_up(self, name: str) -> bool:
        member, process = self.members[name], self.machines[name].process
        started = member is not None and member.address is not None and not member.failed
        return started and process is not None

    @property
    def leaders(self) -> list[str]:
        return [n for n, m in self._running() if m._node is not None and m._node.raft.is_leader]

    def _running(self) -> list[tuple[str, Member]]:
        return [(n, m) for n, m in self.members.items() if m is not None and self.is_up(n)]

    def _counting(self) -> list[tuple[str, Member]]:
        """Those that run and are members, as far as whoever leads knows."""
        leading = [m._node.raft for _, m in self._running() if m._node and m._node.raft.is_leader]
        known = [key for raft in leading for key in raft.members]
        return [(n, m) for n, m in self._running() if m._node and m._node.raft.key in known]

    async def client(self, number: int, timeout_s: float) -> StoreClient:
        machine = Machine(f"c{number}", self.fabric, str(self._seed))
        client = StoreClient(self.endpoints, timeout_s=timeout_s)
        await client.start(machine.boot())
        return client

    def states(self) -> dict[str, tuple[Any, ...]]:
        """What each of them holds: equal if they have applied the same."""
        found = {}
        for name, member in self._counting():
            assert member._node is not None
            machine, raft = member._state.machine, member._node.raft
            configuration = raft.configuration_at(raft.applied_index).pack()
            found[name] = (machine.dump(), list(machine.store.cut()), configuration)
        return found

    async def wait_until_equal(self, timeout_s: float) -> bool:
        """Whether all running members come to hold the same."""
        deadline_s = self.loop.time() + timeout_s
        while self.loop.time() < deadline_s:
            states = list(self.states().values())
            if states and all(state == states[0] for state in states):
                return True
            await asyncio.sleep(0.5)
        return False

    def _config(self, name: str) -> dict[str, Any]:
        founders = {peer: f"{peer}:{PEER_PORT}" for peer in self.founders}
        joins = name not in founders
        return {
            "name": name,
            "peers": {} if joins else founders,
            "state": "existing" if joins else "new",
            "peer_address": f"{name}:{PEER_PORT}",
            "client_address": f"{name}:{CLIENT_PORT}",
            "data_dir": "/data",
            "snapshot_entries": 100,
            "keep_entries": 20,
            "segment_bytes": SEGMENT_BYTES,
            "chunk_bytes": CHUNK_BYTES,
            "watch_progress_s": 1.0,
        }

    def _observe(self, name: str, member: Member) -> None:
        """Hear of every revision that the member applies, and of its leading."""
        machine = member._state.machine
        tell = machine._on_revision

        def publish(revision: int, events: Sequence[Event]) -> None:
            self.applied.add(name, revision, events, self.loop.time())
            tell(revision, events)

        established = member._established

        def begin(leads: bool) -> None:
            if leads:
                self.leading_s.append(self.loop.time())
            established(leads)

        machine._on_revision = publish
        member._established = begin  # type: ignore[method-assign]
