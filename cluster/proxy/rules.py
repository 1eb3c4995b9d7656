"""Which addresses a node answers for Services, and where their traffic goes. Pure.

Follows kube-proxy: ready endpoints only; if there are none, those that still serve while they
terminate; with a Local traffic policy only endpoints of this node; session affinity by client.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

SERVICE_LABEL = "kubernetes.io/service-name"
AFFINITY_TIMEOUT_S = 10800.0


@dataclass(frozen=True)
class Frontend:
    """An address that is listened on. `protocol`: "TCP" or "UDP"."""

    host: str
    port: int
    protocol: str


@dataclass(frozen=True, order=True)
class Backend:
    host: str
    port: int


@dataclass(frozen=True)
class Rule:
    """`affinity_s`: how long a client stays with its backend; None for round-robin."""

    service: str
    backends: tuple[Backend, ...]
    affinity_s: float | None = None


def build(
    services: Iterable[Object], slices: Iterable[Object], node_name: str, node_ip: str
) -> dict[Frontend, Rule]:
    """All rules of a node. Frontends without a backend are left out: they refuse connections."""
    by_service = _by_service(slices)
    rules: dict[Frontend, Rule] = {}
    for service in services:
        key = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
        if _has_address(service):
            for port in service["spec"].get("ports") or ():
                rules |= _of_port(service, port, by_service.get(key, ()), node_name, node_ip)
    return {frontend: rule for frontend, rule in rules.items() if rule.backends}


def _by_service(slices: Iterable[Object]) -> Mapping[str, list[Object]]:
    found: dict[str, list[Object]] = defaultdict(list)
    for item in slices:
        name = (item["metadata"].get("labels") or {}).get(SERVICE_LABEL)
        if name and item.get("addressType", "IPv4") == "IPv4":
            found[f"{item['metadata']['namespace']}/{name}"].append(item)
    return found


def _has_address(service: Object) -> bool:
    spec = service["spec"]
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") not in (None, "", "None")


def _of_port(
    service: Object, port: Object, slices: Sequence[Object], node_name: str, node_ip: str
) -> dict[Frontend, Rule]:
    spec, metadata = service["spec"], service["metadata"]
    key = f"{metadata['namespace']}/{metadata['name']}"
    endpoints = _endpoints(port, slices)
    protocol, affinity_s = port.get("protocol", "TCP"), _affinity_s(spec)

    def rule(policy: str) -> Rule:
        local = spec.get(policy) == "Local"
        usable = [e for e in endpoints if not local or e[0].get("nodeName") == node_name]
        return Rule(key, choose(usable), affinity_s)

    rules = {Frontend(spec["clusterIP"], port["port"], protocol): rule("internalTrafficPolicy")}
    if port.get("nodePort") and node_ip:
        frontend = Frontend(node_ip, port["nodePort"], protocol)
        rules[frontend] = rule("externalTrafficPolicy")
    return rules


def _affinity_s(spec: Object) -> float | None:
    if spec.get("sessionAffinity") != "ClientIP":
        return None
    settings = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return float(settings.get("timeoutSeconds") or AFFINITY_TIMEOUT_S)


def _endpoints(port: Object, slices: Iterable[Object]) -> list[tuple[Object, Backend]]:
    """Every endpoint with its backend for this Service port (matched by name)."""
    found = []
    for item in slices:
        for entry in item.get("ports") or ():
            same = (entry.get("name") or "") == (port.get("name") or "")
            if not same or entry.get("port") is None:
                continue
            if entry.get("protocol", "TCP") != port.get("protocol", "TCP"):
                continue
            for endpoint in item.get("endpoints") or ():
                found += [(endpoint, Backend(a, entry["port"])) for a in endpoint["addresses"][:1]]
    return found


def choose(endpoints: Sequence[tuple[Object, Backend]]) -> tuple[Backend, ...]:
    """The backends that traffic may go to, sorted."""
    ready = {backend for endpoint, backend in endpoints if _is(endpoint, "ready", default=True)}
    if not ready:
        ready = {
            backend
            for endpoint, backend in endpoints
            if _is(endpoint, "terminating") and _is(endpoint, "serving")
        }
    return tuple(sorted(ready))


def _is(endpoint: Object, condition: str, *, default: bool = False) -> bool:
    value = (endpoint.get("conditions") or {}).get(condition)
    return default if value is None else bool(value)
