"""The names of a cluster: Services, endpoints and pods. Pure.

After the Kubernetes DNS-based service discovery specification (version 1.1.0). Values are text
as in a zone file: an address for A, a name for CNAME and PTR, `PRIORITY WEIGHT PORT NAME` for SRV.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

SERVICE_LABEL = "kubernetes.io/service-name"
SCHEMA_VERSION = "1.1.0"

Names = Mapping[str, Mapping[str, list[str]]]


@dataclass(frozen=True)
class Answer:
    """`exists` tells NODATA (True, no values) from NXDOMAIN. `values`: of `type_`, or a CNAME."""

    exists: bool
    type_: str = "A"
    values: tuple[str, ...] = ()


class Zone:
    """All names under `domain`, lower case and without the last dot."""

    def __init__(self, domain: str, names: Names) -> None:
        self.domain = domain
        self._names = names
        self._parents = _parents(names, domain)

    def is_mine(self, name: str) -> bool:
        """Whether no other server can know better."""
        return name == self.domain or name.endswith("." + self.domain)

    def answer(self, name: str, type_: str) -> Answer:
        """For a name of this zone, or the reverse name of an address."""
        records = self._names.get(name)
        if records is None:
            records = self._pod_record(name)
        if records is None:
            return Answer(name in self._parents)
        if type_ not in records and "CNAME" in records:
            return Answer(True, "CNAME", tuple(records["CNAME"]))
        return Answer(True, type_, tuple(records.get(type_, ())))

    def reverse(self, name: str) -> Answer | None:
        """Of an `in-addr.arpa` name; None if the address is not one of the cluster's."""
        return self.answer(name, "PTR") if name in self._names else None

    def _pod_record(self, name: str) -> Mapping[str, list[str]] | None:
        """`127-8-1-2.NAMESPACE.pod.DOMAIN` stands for its own address."""
        labels = name.removesuffix("." + self.domain).split(".")
        if len(labels) != 3 or labels[2] != "pod":
            return None
        try:
            return {"A": [str(ipaddress.IPv4Address(labels[0].replace("-", ".")))]}
        except ValueError:
            return None


def _parents(names: Iterable[str], domain: str) -> set[str]:
    """Names that exist only because something is below them."""
    found = {domain, f"svc.{domain}", f"pod.{domain}"}
    for name in names:
        while name.endswith("." + domain):
            name = name.partition(".")[2]
            found.add(name)
    return found


def reverse_name(ip: str) -> str:
    return ipaddress.ip_address(ip).reverse_pointer


def build(services: Iterable[Object], slices: Iterable[Object], domain: str) -> Zone:
    """The zone of everything that the API knows."""
    by_service: dict[str, list[Object]] = defaultdict(list)
    for item in slices:
        owner = (item["metadata"].get("labels") or {}).get(SERVICE_LABEL)
        if owner and item.get("addressType", "IPv4") == "IPv4":
            by_service[f"{item['metadata']['namespace']}/{owner}"].append(item)
    builder = _Builder(domain)
    for service in services:
        key = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
        builder.add(service, by_service.get(key, []))
    return Zone(domain, builder.names)


class _Builder:
    def __init__(self, domain: str) -> None:
        self._domain = domain
        self.names: dict[str, dict[str, list[str]]] = {}
        self._put(f"dns-version.{domain}", "TXT", SCHEMA_VERSION)

    def _put(self, name: str, type_: str, value: str) -> None:
        values = self.names.setdefault(name.lower(), {}).setdefault(type_, [])
        if value not in values:
            values.append(value)

    def add(self, service: Object, slices: Iterable[Object]) -> None:
        metadata, spec = service["metadata"], service["spec"]
        name = f"{metadata['name']}.{metadata['namespace']}.svc.{self._domain}"
        address = spec.get("clusterIP")
        if spec.get("type") == "ExternalName":
            self._put(name, "CNAME", spec["externalName"].rstrip("."))
        elif address == "None":
            self.names.setdefault(name.lower(), {})  # exists, also without endpoints
            for item in slices:
                self._add_headless(name, item)
        elif address:
            self._put(name, "A", address)
            self._put(reverse_name(address), "PTR", name)
            for port in spec.get("ports") or ():
                self._add_srv(name, port, int(port["port"]), name)

    def _add_srv(self, service: str, port: Object, number: int, target: str) -> None:
        if port.get("name"):
            protocol = port.get("protocol", "TCP").lower()
            self._put(f"_{port['name']}._{protocol}.{service}", "SRV", f"0 100 {number} {target}")

    def _add_headless(self, service: str, item: Object) -> None:
        for endpoint in item.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint.get("addresses") or ():
                label = endpoint.get("hostname") or address.replace(".", "-")
                own = f"{label}.{service}"
                self._put(service, "A", address)
                self._put(own, "A", address)
                if endpoint.get("hostname"):
                    self._put(reverse_name(address), "PTR", own)
                for port in item.get("ports") or ():
                    if port.get("port") is not None:
                        self._add_srv(service, port, int(port["port"]), own)
