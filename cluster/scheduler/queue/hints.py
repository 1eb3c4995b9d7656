"""The rules of the queue that follow from the profiles: order, gates and queueing hints. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.scheduler.columns import Columns
from cluster.scheduler.framework.events import ClusterEvent
from cluster.scheduler.framework.profile import Profile
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.queue.queue import Rules


def rules(columns: Columns, profiles: Mapping[str, Profile]) -> Rules:
    """`profiles` by scheduler name; they agree on the order."""
    some = next(iter(profiles.values()))
    by_name = {name: plugin for p in profiles.values() for name, plugin in p.plugins.items()}

    def gates(pod: PodInfo) -> frozenset[str]:
        plugins = profiles[pod.scheduler_name].pre_enqueue
        return frozenset(plugin.name for plugin in plugins if plugin.pre_enqueue(pod))

    def hears(names: frozenset[str], event: ClusterEvent) -> bool:
        """A pod that nobody rejected by name (an extender did) hears of everything."""
        found = [by_name[name] for name in names if name in by_name]
        what = (event.resource, event.kind)
        return len(found) < max(1, len(names)) or any(
            plugin.events is None or what in plugin.events for plugin in found
        )

    def helps(pod: PodInfo, names: frozenset[str], event: ClusterEvent) -> bool:
        plugins = profiles[pod.scheduler_name].plugins
        if not names or any(name not in plugins for name in names):
            return True
        what = (event.resource, event.kind)
        return any(
            (plugin.events is None or what in plugin.events) and plugin.helps(pod, event, columns)
            for plugin in (plugins[name] for name in names)
        )

    return Rules(some.queue_sort.key, gates, hears, helps)
