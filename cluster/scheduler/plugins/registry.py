"""Every plugin by its name: upstream's, and those that users add."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cluster.scheduler.framework.plugin import Plugin
from cluster.scheduler.plugins import arguments
from cluster.scheduler.plugins.default_binder import DefaultBinder
from cluster.scheduler.plugins.dynamic_resources import DynamicResources
from cluster.scheduler.plugins.gang_scheduling import GangScheduling
from cluster.scheduler.plugins.image_locality import ImageLocality
from cluster.scheduler.plugins.node_name import NodeName
from cluster.scheduler.plugins.node_ports import NodePorts
from cluster.scheduler.plugins.node_unschedulable import NodeUnschedulable
from cluster.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from cluster.scheduler.plugins.priority_sort import PrioritySort
from cluster.scheduler.plugins.scheduling_gates import SchedulingGates
from cluster.scheduler.plugins.taint_toleration import TaintToleration
from cluster.scheduler.plugins.volume_restrictions import VolumeRestrictions
from cluster.scheduler.plugins.volume_zone import VolumeZone

Factory = Callable[[Mapping[str, Any]], Plugin]
"""From the plugin's arguments (pluginConfig) to the plugin. Raises ValueError."""

DEFAULTS: tuple[tuple[str, int], ...] = (
    ("SchedulingGates", 0),
    ("PrioritySort", 0),
    ("NodeUnschedulable", 0),
    ("NodeName", 0),
    ("TaintToleration", 3),
    ("NodeAffinity", 2),
    ("NodePorts", 0),
    ("NodeResourcesFit", 1),
    ("VolumeRestrictions", 0),
    ("NodeVolumeLimits", 0),
    ("VolumeBinding", 0),
    ("VolumeZone", 0),
    ("PodTopologySpread", 2),
    ("InterPodAffinity", 2),
    ("DynamicResources", 0),
    ("DefaultPreemption", 0),
    ("NodeResourcesBalancedAllocation", 1),
    ("ImageLocality", 1),
    ("DefaultBinder", 0),
)
"""The default profile: upstream's plugins in upstream's order, with their weights."""


def _plain(kind: Callable[[], Plugin]) -> Factory:
    return lambda _: kind()


def _from_class(kind: Callable[..., Plugin], given: Mapping[str, Any]) -> Plugin:
    return kind(given) if given else kind()


class Registry:
    def __init__(self) -> None:
        self._factories: dict[str, Factory] = {
            "SchedulingGates": _plain(SchedulingGates),
            "PrioritySort": _plain(PrioritySort),
            "NodeUnschedulable": _plain(NodeUnschedulable),
            "NodeName": _plain(NodeName),
            "TaintToleration": _plain(TaintToleration),
            "NodeAffinity": arguments.node_affinity,
            "NodePorts": _plain(NodePorts),
            "NodeResourcesFit": arguments.node_resources_fit,
            "VolumeRestrictions": _plain(VolumeRestrictions),
            "NodeVolumeLimits": _plain(NodeVolumeLimits),
            "VolumeBinding": arguments.volume_binding,
            "VolumeZone": _plain(VolumeZone),
            "PodTopologySpread": arguments.pod_topology_spread,
            "InterPodAffinity": arguments.inter_pod_affinity,
            "NodeResourcesBalancedAllocation": arguments.node_resources_balanced,
            "DynamicResources": _plain(DynamicResources),
            "DefaultPreemption": arguments.default_preemption,
            "GangScheduling": _plain(GangScheduling),
            "ImageLocality": _plain(ImageLocality),
            "DefaultBinder": _plain(DefaultBinder),
        }

    def add(self, name: str, factory: Factory) -> None:
        """Raises ValueError for a name that is taken."""
        if name in self._factories:
            raise ValueError(f'a plugin named "{name}" is registered already')
        self._factories[name] = factory

    def load(self, paths: Iterable[str]) -> None:
        """Add plugins by "module:Class"; a class takes its arguments as one mapping, if any."""
        for path in paths:
            module, _, name = path.partition(":")
            kind = getattr(importlib.import_module(module), name)
            self.add(kind.name, functools.partial(_from_class, kind))

    def make(self, name: str, given: Mapping[str, Any]) -> Plugin:
        """Raises ValueError for a name that nobody registered, and for wrong arguments."""
        if name not in self._factories:
            raise ValueError(f'plugin "{name}" does not exist')
        return self._factories[name](given)
