"""The one place that wires everything: from a cluster's shape to the actors that make it up.

Pure: it decides names, addresses, certificates and configs; hosts start what it returns. One file
says how the actors of one kind are made (`store`, `servers`, `control`, `nodes`); what they share
is in `wiring`.
"""

from cluster.compose.layout import CLIENT_PORT, PEER_PORT, store_address
from cluster.compose.planning import Plan, plan
from cluster.compose.shape import MAX_GROUPS, Shape, ray_address
from cluster.compose.wiring import ENCRYPTION

MODULES = (
    "actors.hosts.ray",
    "raftstore.member",
    "cluster.apiserver.server",
    "cluster.controllers.manager",
    "cluster.metrics.server",
    "cluster.scheduler.scheduler",
    "cluster.kubelet.kubelet",
    "cluster.proxy.server",
    "cluster.dns.server",
)
"""Where the components are; processes that will run one can import them beforehand."""

__all__ = [
    "CLIENT_PORT",
    "ENCRYPTION",
    "MAX_GROUPS",
    "MODULES",
    "PEER_PORT",
    "Plan",
    "Shape",
    "plan",
    "ray_address",
    "store_address",
]
