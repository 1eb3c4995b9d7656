"""The kubelet server of all nodes of a fleet: what simulated containers print and answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from actors.seams import Seams
from cluster.kubelet import logs
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.server import KubeletServer, May
from cluster.kubelet.simulated import printed
from cluster.kubelet.simulated.commands import SimulatedCommands
from cluster.kubelet.simulated.pods import Pods


class SimulatedServer(KubeletServer):
    """As a kubelet's, but nothing is read from files and nothing is run."""

    def __init__(self, seams: Seams, pods: Pods, may: May) -> None:
        super().__init__(seams, pods, may, SimulatedCommands(pods, seams.clock))
        self._clock = seams.clock
        self._behaviour = pods.behaviour

    def _printed(
        self, latest: Callable[[], Container], options: logs.LogOptions
    ) -> AsyncIterator[bytes]:
        lines = self._behaviour(latest().container_id).logs
        return printed.stream(lines, latest, options, self._clock)
