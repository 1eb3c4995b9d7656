"""TCP between simulated machines: delayed, stalled by partitions, reset; never reordered inside.

A lost packet of TCP is a delay (it is sent again) and a cut link a stall, ended by healing or by
a reset. A machine that lost power answers nothing; back again, it resets what it does not know.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any

from actors.seams.network import ProtocolFactory
from actors.seams.randomness import Randomness
from actors.simulation.clock import SimulatedClock
from actors.simulation.loop import VirtualLoop
from actors.simulation.process import Process
from actors.simulation.trace import Trace

RETRANSMIT_S = 0.2
PROBE_S = 1.0
HIGH_WATER_BYTES, LOW_WATER_BYTES = 64 << 10, 16 << 10
SYN_RETRIES = 6


class Fabric:
    """All links. `cut` holds directed pairs of machines; call `heal` after changing it."""

    def __init__(self, loop: VirtualLoop, randomness: Randomness, trace: Trace) -> None:
        self.loop, self.randomness, self.trace = loop, randomness, trace
        self.cut: set[tuple[str, str]] = set()
        self.delay_s = (0.0002, 0.002)
        self.slow: dict[tuple[str, str], tuple[float, float]] = {}
        """Delays of directed pairs of machines that differ from `delay_s`."""
        self.loss = 0.0
        self.running: dict[str, Process] = {}
        self.processes: list[Process] = []
        self.listeners: dict[tuple[str, int], _Listener] = {}
        self.ends: dict[End, None] = {}
        self.loaded: dict[_Pipe, None] = {}
        """Those with bytes on their way, whatever has become of their ends."""

    def transit_s(self, source: str, target: str) -> float:
        delay_s = self.randomness.uniform(*self.slow.get((source, target), self.delay_s))
        while self.loss and self.randomness.random() < self.loss:
            delay_s += RETRANSMIT_S
        return delay_s

    def heal(self) -> None:
        for pipe in list(self.loaded):
            pipe.arm()

    def reset_some(self, source: str, target: str, share: float) -> None:
        """Break some of the connections between two machines."""
        for end in list(self.ends):
            route = end.process.host, end.peer.process.host
            if route == (source, target) and self.randomness.random() < share:
                end.lose(ConnectionResetError("reset"))
                end.peer.lose(ConnectionResetError("reset"))

    def break_senders(self, source: str, target: str, late_s: float) -> None:
        """The source loses its connections; what it has sent arrives, but late, and then a reset.

        So bytes of a connection may come behind those of the one that took its place.
        """
        for end in list(self.ends):
            if (end.process.host, end.peer.process.host) == (source, target):
                end.out.send(None)
                end.out.hold(late_s)
                end.lose(ConnectionResetError("reset"))

    def ended(self, process: Process, *, silently: bool) -> None:
        """A process is gone: the kernel resets its connections, unless there is no power."""
        for end in [end for end in self.ends if end.process is process]:
            if not silently:
                end.out.send(None)
            self.ends.pop(end, None)


class _Pipe:
    """One direction of a connection. `None` in it is a reset."""

    def __init__(self, fabric: Fabric, source: End) -> None:
        self._fabric, self._source = fabric, source
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._last_due_s = 0.0
        self.size_bytes = 0

    def send(self, data: bytes | None) -> None:
        route = self._source.process.host, self._source.peer.process.host
        due_s = self._fabric.loop.time() + self._fabric.transit_s(*route)
        self._last_due_s = max(self._last_due_s, due_s)
        self._queue.append((self._last_due_s, data))
        self.size_bytes += len(data or b"")
        self._fabric.loaded[self] = None
        self.arm()

    def clear(self) -> None:
        self._queue.clear()
        self._fabric.loaded.pop(self, None)
        self.size_bytes = 0

    def hold(self, delay_s: float) -> None:
        """What is on its way takes longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queue = deque((due_s + delay_s, data) for due_s, data in self._queue)
        self._last_due_s += delay_s
        self.arm()

    def arm(self, delay_s: float = 0.0) -> None:
        if self._timer is None and self._queue:
            due_s = max(self._queue[0][0], self._fabric.loop.time() + delay_s)
            self._timer = self._fabric.loop.call_at(due_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        source, target = self._source, self._source.peer
        if not self._queue or (source.process.host, target.process.host) in self._fabric.cut:
            return
        if not target.process.alive:
            self._answered_by_nobody(target.process.host)
        elif target.is_lost:
            self.clear()
            self._source.lose(ConnectionResetError("the other side has given this connection up"))
        elif not target.process.paused and not target.reading_paused:
            self._deliver(target)
            self.arm()

    def _answered_by_nobody(self, host: str) -> None:
        if host in self._fabric.running:
            self.clear()
            self._source.lose(ConnectionResetError("the other side is not known any more"))
        else:
            self.arm(PROBE_S)

    def _deliver(self, target: End) -> None:
        now_s, parts, reset = self._fabric.loop.time() + 1e-9, [], False
        while self._queue and self._queue[0][0] <= now_s and not reset:
            data = self._queue.popleft()[1]
            reset = data is None
            parts.append(data or b"")
        data = b"".join(parts)
        self.size_bytes -= len(data)
        if not self._queue:
            self._fabric.loaded.pop(self, None)
        target.receive(data)
        if reset:
            target.lose(ConnectionResetError("reset by peer"))
        self._source.drained()


class End(asyncio.Transport):
    """One end of a connection, as its protocol sees it."""

    peer: End

    def __init__(self, fabric: Fabric, process: Process) -> None:
        super().__init__()
        self.process, self._fabric = process, fabric
        self.out = _Pipe(fabric, self)
        self.reading_paused = False
        self._protocol: Any = None
        self._closing = self._lost = self._full = False
        self._high_bytes, self._low_bytes = HIGH_WATER_BYTES, LOW_WATER_BYTES

    def begin(self, protocol: Any) -> None:
        self._protocol = protocol
        self._fabric.ends[self] = None
        protocol.connection_made(self)

    def receive(self, data: bytes) -> None:
        if data and not self._lost and self._protocol is not None:
            route = f"{self.peer.process.host}>{self.process.host}"
            self._fabric.trace.add(self._fabric.loop.time(), "message", route, data.hex())
            self._protocol.data_received(data)

    @property
    def is_lost(self) -> bool:
        return self._lost

    def lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._fabric.ends.pop(self, None)
        if self._protocol is not None:
            self.process.run(self._protocol.connection_lost, error)

    def drained(self) -> None:
        if self._full and self.out.size_bytes < self._low_bytes:
            self._full = False
            self.process.run(self._protocol.resume_writing)

    # ---- asyncio

    def write(self, data: Any) -> None:
        if self._closing or not self.process.alive:
            return
        self.out.send(bytes(data))
        if not self._full and self.out.size_bytes > self._high_bytes:
            self._full = True
            self._protocol.pause_writing()

    def close(self) -> None:
        self._shut()

    def abort(self) -> None:
        if not self._closing and self._fabric.randomness.random() < 0.5:
            self.out.clear()
        self._shut()

    def _shut(self) -> None:
        if not self._closing and self.process.alive:
            self._closing = True
            self.out.send(None)
            self._fabric.loop.call_soon(self.lose, None)

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return self.out.size_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_bytes = HIGH_WATER_BYTES if high is None else high
        self._low_bytes = self._high_bytes // 4 if low is None else low

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False
        self.peer.out.arm()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class _Listener:
    def __init__(self, fabric: Fabric, process: Process, address: tuple[str, int], factory: Any):
        self._fabric, self.process, self._address = fabric, process, address
        self.port, self.factory = address[1], factory

    async def close(self) -> None:
        if self._fabric.listeners.get(self._address) is self:
            del self._fabric.listeners[self._address]


class SimulatedNetwork:
    """The network seam of one process."""

    def __init__(self, fabric: Fabric, process: Process, clock: SimulatedClock) -> None:
        self._fabric, self._process, self._clock = fabric, process, clock

    async def listen(
        self,
        host: str,
        port: int,
        factory: ProtocolFactory,
        *,
        tls: ssl.SSLContext | None = None,
        reuse_port: bool = False,
    ) -> _Listener:
        listener = _Listener(self._fabric, self._process, (host, port), factory)
        self._fabric.listeners[host, port] = listener
        return listener

    async def connect(
        self,
        host: str,
        port: int,
        factory: ProtocolFactory,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        await self._reach(host)
        listener = self._fabric.listeners.get((host, port))
        if listener is None or not listener.process.alive:
            raise ConnectionRefusedError(f"nobody listens on {host}:{port}")
        near, far = End(self._fabric, self._process), End(self._fabric, listener.process)
        near.peer, far.peer = far, near
        listener.process.run(lambda: far.begin(listener.factory()))
        protocol = factory()
        near.begin(protocol)
        return near, protocol

    async def _reach(self, host: str) -> None:
        """The handshake: packets that get no answer are repeated, at growing intervals."""
        own = self._process.host
        for attempt in range(SYN_RETRIES):
            there_s, back_s = self._fabric.transit_s(own, host), self._fabric.transit_s(host, own)
            await self._clock.sleep(there_s + back_s)
            ways = {(own, host), (host, own)}
            if host in self._fabric.running and not ways & self._fabric.cut:
                return
            await self._clock.sleep(float(2**attempt))
        raise TimeoutError(f"{host} does not answer")

    async def listen_udp(
        self, host: str, port: int, factory: ProtocolFactory, *, reuse_port: bool = False
    ) -> asyncio.DatagramTransport:
        raise NotImplementedError("no component under simulation uses datagrams")
