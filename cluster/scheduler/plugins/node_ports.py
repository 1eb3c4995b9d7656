"""NodePorts: no two pods of a node may have the same host port on the same address."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster.scheduler.columns import Columns, Mask
from cluster.scheduler.framework import Rejection
from cluster.scheduler.requests import PodRequest, Port

ANY = "0.0.0.0"


class NodePorts:
    name = "NodePorts"
    resolvable = True

    def reject(self, columns: Columns, pod: PodRequest) -> Sequence[Rejection]:
        """Host ports are rare, so the pods of each node are simply looked at."""
        if not pod.ports:
            return ()
        taken: Mask = np.array(
            [any(_conflict(pod, other) for other in columns.pods_on(n)) for n in columns.names],
            np.bool_,
        )
        reason = "node(s) didn't have free ports for the requested pod ports"
        return [Rejection(taken, reason)]


def _conflict(pod: PodRequest, other: PodRequest) -> bool:
    return any(_same(mine, theirs) for theirs in other.ports for mine in pod.ports)


def _same(one: Port, other: Port) -> bool:
    """0.0.0.0 stands for every address."""
    if (one.protocol, one.number) != (other.protocol, other.number):
        return False
    return one.address == other.address or ANY in (one.address, other.address)
