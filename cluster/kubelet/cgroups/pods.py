"""The control groups of a node's pods: kubepods, its QoS classes, pods, and their removal."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from cluster.kubelet.cgroups import resources
from cluster.kubelet.cgroups.limits import SHARES_MIN, UNLIMITED, Limits
from cluster.kubelet.cgroups.tree import Tree
from cluster.machinery.pod_amounts import Amounts

Object = dict[str, Any]

log = logging.getLogger(__name__)

ROOT = "kubepods"
_CLASSES = ("", "/burstable", "/besteffort")


class PodGroups:
    """`pids_max`: of one pod. Everything raises OSError, from the kernel."""

    def __init__(self, tree: Tree, allocatable: Amounts, pids_max: int = UNLIMITED) -> None:
        self.tree = tree
        self._pids_max = pids_max
        self._paths: dict[str, str] = {}
        self._burstable = SHARES_MIN
        tree.create(ROOT, resources.node_limits(allocatable))
        tree.create(f"{ROOT}/burstable", Limits(cpu_shares=SHARES_MIN))
        tree.create(f"{ROOT}/besteffort", Limits(cpu_shares=SHARES_MIN))
        for kind in _CLASSES:
            for name in tree.children(ROOT + kind):
                if name.startswith("pod"):
                    self._paths[name.removeprefix("pod")] = f"{ROOT}{kind}/{name}"

    def uids(self) -> list[str]:
        """Of pods that have a group, those of an earlier kubelet too."""
        return list(self._paths)

    def set_up(self, pod: Object) -> str:
        """The pod's group, made or brought up to date; its path in the tree."""
        path = self._paths.get(pod["metadata"]["uid"]) or resources.pod_path(pod)
        self.tree.create(path, resources.pod_limits(pod, self._pids_max))
        self._paths[pod["metadata"]["uid"]] = path
        return path

    def loosen(self, uid: str) -> None:
        """No limits of cpu and memory but the containers' own, until the next `set_up`."""
        if path := self._paths.get(uid):
            self.tree.limit(path, Limits(cpu_quota_us=UNLIMITED, memory_bytes=UNLIMITED))

    def path(self, uid: str) -> str:
        """ "" for a pod without a group."""
        return self._paths.get(uid, "")

    def balance(self, pods: Iterable[Object]) -> None:
        """The class of burstable pods weighs as much as all its pods together."""
        wanted = resources.burstable_shares(pods)
        if wanted != self._burstable:
            self.tree.limit(f"{ROOT}/burstable", Limits(cpu_shares=wanted))
            self._burstable = wanted

    def remove(self, uid: str) -> None:
        """Whatever still runs in it is killed: nothing of a pod outlives it."""
        path = self._paths.pop(uid, "")
        if not path:
            return
        if killed := self.tree.kill(path):
            log.warning("pod %s left %d processes behind: killed", uid, killed)
        self.tree.remove(path)
