"""Plugins that are off unless an administrator asks for them, small enough to share a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.machinery import status

Object = dict[str, Any]
HOSTNAME = "kubernetes.io/hostname"
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def _written_pod(review: Review, *subresources: str) -> Object | None:
    if (review.resource.group, review.resource.plural) != ("", "pods"):
        return None
    return review.new if review.subresource in ("", *subresources) else None


def _containers(pod: Object | None) -> Iterator[Object]:
    spec = (pod or {}).get("spec") or {}
    for part in CONTAINERS:
        yield from spec.get(part) or ()


async def always_pull_images(review: Review) -> None:
    """AlwaysPullImages: who runs a private image has shown that they may read it."""
    pod = _written_pod(review, "ephemeralcontainers")
    if pod is None:
        return
    had = {(c.get("name"), c.get("image")) for c in _containers(review.old)}
    for container in _containers(pod):
        if (container.get("name"), container.get("image")) not in had:
            container["imagePullPolicy"] = "Always"


async def extended_resource_toleration(review: Review) -> None:
    """ExtendedResourceToleration: who asks for special hardware may run on its nodes."""
    pod = _written_pod(review)
    if pod is None:
        return
    wanted = {
        name
        for container in _containers(pod)
        for name in (container.get("resources") or {}).get("requests") or {}
        if _is_extended(name)
    }
    tolerations = pod["spec"].get("tolerations") or []
    added = [{"key": name, "operator": "Exists"} for name in sorted(wanted)]
    added = [each for each in added if each not in tolerations]
    if added:
        pod["spec"]["tolerations"] = [*tolerations, *added]


def _is_extended(name: str) -> bool:
    return "/" in name and "kubernetes.io/" not in name and not name.startswith("requests.")


async def limit_hard_anti_affinity(review: Review) -> None:
    """LimitPodHardAntiAffinityTopology: no pod can keep others out of a whole zone."""
    pod = review.creates("pods")
    affinity = ((pod or {}).get("spec") or {}).get("affinity") or {}
    terms = (affinity.get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    for term in terms or ():
        if term.get("topologyKey") != HOSTNAME:
            text = (
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey "
                f"{term.get('topologyKey')} but only key {HOSTNAME} is allowed"
            )
            raise status.forbidden(review.resource, review.name, text)


async def deny_external_ips(review: Review) -> None:
    """DenyServiceExternalIPs: nobody takes traffic that is meant for an address outside."""
    if (review.resource.group, review.resource.plural) != ("", "services") or review.subresource:
        return
    had = set(((review.old or {}).get("spec") or {}).get("externalIPs") or ())
    asked = set(((review.new or {}).get("spec") or {}).get("externalIPs") or ())
    if asked - had:
        text = "Use of external IPs is denied by admission control."
        raise status.forbidden(review.resource, review.name, text)
