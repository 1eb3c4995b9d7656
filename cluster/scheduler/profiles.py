"""The default profile: kube-scheduler's plugins, order and weights, as far as they exist here."""

from __future__ import annotations

from cluster.scheduler.framework import Profile
from cluster.scheduler.plugins.balanced_allocation import BalancedAllocation
from cluster.scheduler.plugins.node_affinity import NodeAffinity
from cluster.scheduler.plugins.node_name import NodeName
from cluster.scheduler.plugins.node_ports import NodePorts
from cluster.scheduler.plugins.node_resources_fit import NodeResourcesFit
from cluster.scheduler.plugins.node_unschedulable import NodeUnschedulable
from cluster.scheduler.plugins.taint_toleration import TaintToleration


def default_profile() -> Profile:
    taints, affinity, fit = TaintToleration(), NodeAffinity(), NodeResourcesFit()
    return Profile(
        filters=(NodeUnschedulable(), NodeName(), taints, affinity, NodePorts(), fit),
        scores=((taints, 3), (affinity, 2), (fit, 1), (BalancedAllocation(), 1)),
    )
