"""A simulated machine: a clock and a disk that outlive the programs that run on it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from actors.seams import Seams
from actors.seams.randomness import seeded_randomness
from actors.simulation.clock import MachineClock, SimulatedClock
from actors.simulation.disk import MemoryDisk
from actors.simulation.network import Fabric, SimulatedNetwork
from actors.simulation.process import Process


class Machine:
    """Starts processes, one at a time, and stops them in the ways in which machines do."""

    def __init__(self, name: str, fabric: Fabric, seed: str) -> None:
        self.name, self.fabric = name, fabric
        self.clock = MachineClock(fabric.loop)
        self._seed, self._starts = f"{seed}/{name}", 0
        self.disk = MemoryDisk(seeded_randomness(f"{self._seed}/disk"))
        self.process: Process | None = None
        self.operations_left: int | None = None
        """Power fails at the operation on the disk that makes this negative."""

    def boot(self) -> Seams:
        process = self.process = self.fabric.running[self.name] = Process(self.name)
        self.fabric.processes.append(process)
        self._starts += 1
        clock = SimulatedClock(self.fabric.loop, self.clock, process, self.fabric.trace)
        network = SimulatedNetwork(self.fabric, process, clock)
        randomness = seeded_randomness(f"{self._seed}/{self._starts}")
        return Seams(clock, randomness, network, _ProcessDisk(self, process))

    def kill(self, *, power_loss: bool) -> None:
        """End the process; with `power_loss`, also forget what the disk had not made durable."""
        if self.process is None:
            return
        self.process.kill()
        self.fabric.ended(self.process, silently=power_loss)
        if power_loss:
            self.fabric.running.pop(self.name, None)
            self.disk.crash()
        self.process = self.operations_left = None

    def pause(self) -> None:
        if self.process is not None:
            self.process.pause()

    def resume(self) -> None:
        if self.process is not None:
            self.process.resume()
            self.fabric.heal()

    def touch_disk(self, process: Process, operation: str, facts: tuple[Any, ...]) -> None:
        """Before every operation: is there a machine to do it?"""
        if process.alive and self.operations_left is not None:
            self.operations_left -= 1
            if self.operations_left < 0:
                self.kill(power_loss=True)
        if not process.alive:
            raise OSError(errno.EIO, "the machine is off")
        self.fabric.trace.add(self.fabric.loop.time(), "disk", self.name, operation, *facts)


class _ProcessDisk:
    """The disk seam of one process."""

    def __init__(self, machine: Machine, process: Process) -> None:
        self._machine, self._process = machine, process

    def open(self, path: str, *, create: bool = False) -> Any:
        self._machine.touch_disk(self._process, "open", (path,))
        return _ProcessFile(self._machine, self._process, path, create)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _checked(self._machine, self._process, name, self._machine.disk)


class _ProcessFile:
    def __init__(self, machine: Machine, process: Process, path: str, create: bool) -> None:
        self._machine, self._process = machine, process
        self._file = machine.disk.open(path, create=create)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _checked(self._machine, self._process, name, self._file)


def _checked(machine: Machine, process: Process, name: str, target: Any) -> Callable[..., Any]:
    operation = getattr(target, name)
    if name == "close":
        return operation  # type: ignore[no-any-return]

    def call(*arguments: Any) -> Any:
        facts = tuple(a.hex() if isinstance(a, bytes) else a for a in arguments)
        machine.touch_disk(process, name, facts)
        return operation(*arguments)

    return call
