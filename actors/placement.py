"""Which machine each actor stands on: pure, over the machines that the host reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A machine of the Ray cluster. `host` is its `host` label; without one, its id pins."""

    address: str
    host: str
    node_id: str
    resources: Mapping[str, float]

    @property
    def pin(self) -> str:
        """`label=value` that selects this machine. A `host` label outlives Ray's node id."""
        return f"host={self.host}" if self.host else f"ray.io/node-id={self.node_id}"


def spread(count: int, machines: Sequence[Machine]) -> list[Machine]:
    """A machine for each of `count` actors, as evenly as can be, in an order that is stable."""
    if not machines:
        raise ValueError("no machine to place an actor on")
    ordered = sorted(machines, key=lambda machine: (machine.host, machine.address))
    return [ordered[index % len(ordered)] for index in range(count)]
