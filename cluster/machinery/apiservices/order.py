"""Which groups and versions discovery names first, and how high those of this server stand.

The numbers are those of upstream's kube-apiserver (pkg/controlplane/apiserver/aggregator.go).
The group of the APIServices themselves is always named first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cluster.machinery.customresources.definition import version_order

GROUPS = {
    "apiregistration.k8s.io": 20001,
    "": 18000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
    "resource.k8s.io": 15900,
}
VERSIONS = {"v1": 15, "autoscaling/v2": 30, "flowcontrol.apiserver.k8s.io/v1": 21}
USUAL_GROUP, USUAL_VERSION, BETA_VERSION, CORE_VERSION = 1000, 100, 12, 1


class Priority(NamedTuple):
    """The higher comes first."""

    group: int
    version: int


def of(group: str, version: str) -> Priority:
    """What the server serves itself; custom resources come after all of Kubernetes."""
    if not group:
        return Priority(GROUPS[""], CORE_VERSION)
    known = GROUPS.get(group)
    if known is None:
        return Priority(USUAL_GROUP, USUAL_VERSION)
    own = VERSIONS.get(f"{group}/{version}") or VERSIONS.get(version, BETA_VERSION)
    return Priority(known, own)


def versions(found: Iterable[tuple[str, Priority]]) -> list[str]:
    """Names of versions, the preferred first."""
    ordered = sorted(found, key=lambda each: (-each[1].version, version_order(each[0])))
    return [name for name, _ in ordered]


def groups(found: Iterable[tuple[str, str, Priority]]) -> list[str]:
    """Names of groups, from (group, version, priority); a group is as high as its highest."""
    highest: dict[str, int] = {}
    for group, _, priority in found:
        highest[group] = max(priority.group, highest.get(group, 0))
    return sorted(highest, key=lambda name: (-highest[name], name))
