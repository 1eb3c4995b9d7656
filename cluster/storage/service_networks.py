"""From which networks Services get their addresses: the ServiceCIDRs that are ready (pure).

The server's own network is there from the start, as the ServiceCIDR `kubernetes`; others come and
go. One that is being deleted gives out no more addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from cluster.machinery import meta
from cluster.storage.encoding import Object

DEFAULT = "kubernetes"
READY = "Ready"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(own: Network, objects: Iterable[Object]) -> Sequence[Network]:
    """Those that give out addresses, of the family of the server's own."""
    found = {own}
    for obj in objects:
        mine = [_parsed(text) for text in obj["spec"].get("cidrs") or ()]
        suited = [net for net in mine if net is not None and net.version == own.version]
        ready = meta.condition_is(obj, READY, "True")
        if ready and not obj["metadata"].get("deletionTimestamp"):
            found.update(suited)
        elif obj["metadata"].get("deletionTimestamp"):
            found.difference_update(suited)
    return sorted(found, key=lambda net: (net.network_address, net.prefixlen))


def _parsed(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
