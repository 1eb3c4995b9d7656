"""From a kubelet's config to those of its parts that look after the node's resources."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.component import Config
from actors.seams import Seams
from cluster.client import EventRecorder
from cluster.kubelet.backoff import Limits
from cluster.kubelet.cgroups import resources
from cluster.kubelet.cgroups.pods import PodGroups
from cluster.kubelet.cgroups.tree import Tree
from cluster.kubelet.eviction import measured, thresholds
from cluster.kubelet.eviction.manager import Endable, EvictionManager, Settings
from cluster.kubelet.images import reporting
from cluster.kubelet.images.collection import ImageCollector, Thresholds, disk_of
from cluster.kubelet.images.manager import ImageManager
from cluster.kubelet.node_shutdown import NodeShutdown
from cluster.kubelet.runtimes.base import Runtime
from cluster.kubelet.runtimes.images import ImageService
from cluster.kubelet.shipping.shipper import Shipper, Target

log = logging.getLogger(__name__)

PIDS_MAX = 4096
"""Processes of one pod: enough for servers with many threads, and no fork bomb gets far."""

Report = Callable[[], Awaitable[None]]


def evictions(
    seams: Seams,
    config: Config,
    data_dir: str,
    runtime: Runtime,
    runners: Callable[[], Sequence[Endable]],
    report: Report,
    make_room: Report,
) -> EvictionManager:
    """Raises ValueError for thresholds that are none."""
    settings = Settings(
        thresholds.parse(config),
        period_s=float(config.get("eviction_period_s", 10.0)),
        transition_s=float(config.get("eviction_transition_s", 300.0)),
        grace_max_s=float(config.get("eviction_grace_max_s", 30.0)),
    )
    observe = config.get("observe") or (lambda: measured.signals(data_dir))
    return EvictionManager(seams, settings, data_dir, runtime, runners, observe, report, make_room)


def shutdown(
    seams: Seams,
    config: Config,
    data_dir: str,
    runners: Callable[[], Sequence[Endable]],
    report: Report,
) -> NodeShutdown:
    grace_s = float(config.get("shutdown_grace_s", 30.0))
    critical_s = float(config.get("shutdown_grace_critical_s", 10.0))
    return NodeShutdown(seams, data_dir, runners, report, grace_s, critical_s)


def shipper(seams: Seams, config: Config, data_dir: str) -> Shipper | None:
    """None where logs are not to be sent anywhere. Raises ValueError."""
    wanted = config.get("ship_logs")
    if not wanted:
        return None
    return Shipper(seams, Target.of_config(wanted), data_dir, config["node_name"])


def pod_groups(
    tree: Tree | None, allocatable: Mapping[str, str], config: Config
) -> PodGroups | None:
    if tree is None:
        return None
    try:
        pids_max = int(config.get("pod_pids_max", PIDS_MAX))
        return PodGroups(tree, resources.amounts(allocatable), pids_max)
    except OSError as error:
        log.warning("pods run without limits, there are no control groups: %s", error)
        return None


@dataclass(frozen=True)
class NodeImages:
    """What looks after the images of a node whose runtime has them."""

    service: ImageService
    manager: ImageManager
    collector: ImageCollector

    async def report(self) -> list[dict[str, Any]]:
        """For the node's status."""
        try:
            return reporting.of_node(await self.service.list())
        except Exception:  # of whatever runtime; its own condition tells that it does not answer
            log.warning("the images of the node cannot be listed", exc_info=True)
            return []


def images(
    runtime: Runtime, seams: Seams, config: Config, events: EventRecorder
) -> NodeImages | None:
    """Raises ValueError for thresholds (`image_gc`) that are none."""
    service = runtime.images
    if service is None:
        return None
    initial_s = float(config.get("backoff_initial_s", 10.0))
    limits = Limits(initial_s, float(config.get("backoff_max_s", 300.0)))
    metadata = {"name": config["node_name"], "uid": config["node_name"]}
    node = {"kind": "Node", "apiVersion": "v1", "metadata": metadata}
    collector = ImageCollector(
        service,
        seams.clock,
        lambda: disk_of(config["data_dir"]),
        Thresholds(**(config.get("image_gc") or {})),
        lambda reason, text: events.event(node, "Warning", reason, text),
    )
    collector.start()
    return NodeImages(service, ImageManager(service, seams.clock, limits), collector)
