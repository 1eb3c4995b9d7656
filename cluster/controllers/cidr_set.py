"""Parts of equal size of a network: which are taken, and which is next (pure)."""

from __future__ import annotations

import ipaddress
from collections import Counter

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_BITS = 16
"""As upstream: a network is divided into 2^16 parts at most."""


class CidrSet:
    """Gives out parts one after another, so that one that was let go of rests for long."""

    def __init__(self, network: Network, mask: int) -> None:
        """Raises ValueError for masks that do not fit the network."""
        bits = mask - network.prefixlen
        if not 0 <= bits <= MAX_BITS or mask > network.max_prefixlen:
            raise ValueError(
                f"CIDR {network} cannot be divided into /{mask}: the mask must be longer by 0 to "
                f"{MAX_BITS} bits"
            )
        self.network, self.mask = network, mask
        self._count, self._size = 1 << bits, 1 << (network.max_prefixlen - mask)
        self._taken: Counter[int] = Counter()
        self._next = 0

    @property
    def free(self) -> int:
        return self._count - len(self._taken)

    def allocate(self) -> Network | None:
        """The next part that nobody has; None if there is none."""
        if not self.free:
            return None
        while self._next in self._taken:
            self._next = (self._next + 1) % self._count
        index, self._next = self._next, (self._next + 1) % self._count
        self._taken[index] += 1
        start = int(self.network.network_address) + index * self._size
        return ipaddress.ip_network((start, self.mask))

    def occupy(self, other: Network) -> None:
        """All parts that a network touches; it may be larger, smaller, or elsewhere."""
        for index in self._parts(other):
            self._taken[index] += 1

    def release(self, other: Network) -> None:
        """What was allocated or occupied. Twice occupied is taken until it is released twice."""
        for index in self._parts(other):
            self._taken[index] -= 1
            if self._taken[index] <= 0:
                del self._taken[index]

    def _parts(self, other: Network) -> range:
        if other.version != self.network.version or not other.overlaps(self.network):
            return range(0)
        base = int(self.network.network_address)
        first = max(0, (int(other.network_address) - base) // self._size)
        last = min(self._count - 1, (int(other.broadcast_address) - base) // self._size)
        return range(first, last + 1)
