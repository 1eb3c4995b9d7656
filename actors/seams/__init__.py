"""The four seams through which nondeterminism enters: clock, randomness, network, disk.

A component reads time, random numbers, sockets and files only through the `Seams` that it is
started with, so one fault vocabulary serves simulated, local and distributed runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.seams.clock import Clock, SystemClock
from actors.seams.disk import Disk, SystemDisk
from actors.seams.network import Network, SystemNetwork
from actors.seams.randomness import Randomness, system_randomness


@dataclass(frozen=True)
class Seams:
    """What a component may use of the world outside."""

    clock: Clock
    randomness: Randomness
    network: Network
    disk: Disk


def system_seams() -> Seams:
    """The real clock, entropy, sockets and files of this machine."""
    return Seams(SystemClock(), system_randomness(), SystemNetwork(), SystemDisk())


__all__ = ["Clock", "Disk", "Network", "Randomness", "Seams", "system_seams"]
