"""Services: cluster IPs and node ports are claimed, kept over updates, and released."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cluster.machinery import resources
from cluster.storage import keys
from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy

IP_CLAIMS = keys.prefix(resources.find("ipaddresses.networking.k8s.io"))
"""An address is claimed by its IPAddress object."""
PORT_CLAIMS = keys.CLAIMS + "servicenodeports/"
HEADLESS = "None"
Pick = Callable[[str], str]


class ServiceStrategy(Strategy):
    selectable = ("spec.clusterIP", "spec.type")
    has_status = True
    returns_deleted = True
    assigns = True

    def empty_status(self, obj: Object) -> Object:
        return {"loadBalancer": {}}

    def prepare_update(self, new: Object, old: Object) -> None:
        """A client that sends back an older manifest keeps what was allocated."""
        super().prepare_update(new, old)
        spec, before = new["spec"], old["spec"]
        if _wants_ip(spec) and _wants_ip(before):
            for name in ("clusterIP", "clusterIPs"):
                if not spec.get(name) and before.get(name):
                    spec[name] = before[name]
        if _wants_ports(spec) and _wants_ports(before):
            _keep_ports(spec, before)
        _drop_what_the_old_type_needed(spec, before)

    def claims(self, obj: Object) -> Mapping[str, str]:
        spec = obj["spec"]
        held: dict[str, str] = {}
        address = spec.get("clusterIP")
        if _wants_ip(spec) and address and address != HEADLESS:
            held[IP_CLAIMS + address] = "spec.clusterIPs"
        if _wants_ports(spec):
            for index, port in enumerate(spec.get("ports") or ()):
                if port.get("nodePort"):
                    held[f"{PORT_CLAIMS}{port['nodePort']}"] = f"spec.ports[{index}].nodePort"
        return held

    def assign(self, new: Object, old: Object | None, pick: Pick) -> None:
        spec = new["spec"]
        if _wants_ip(spec):
            _assign_ip(spec, pick)
        else:
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(name, None)
        for port in spec.get("ports") or ():
            if _wants_ports(spec):
                port["nodePort"] = port.get("nodePort") or _shared_port(spec, port, pick)
            elif old is not None and _wants_ports(old["spec"]):
                port.pop("nodePort", None)


_OF_TYPE = {
    "externalTrafficPolicy": ("NodePort", "LoadBalancer"),
    "healthCheckNodePort": ("LoadBalancer",),
    "allocateLoadBalancerNodePorts": ("LoadBalancer",),
    "loadBalancerClass": ("LoadBalancer",),
}


def _drop_what_the_old_type_needed(spec: Object, before: Object) -> None:
    """A change of type takes along fields that the client left as they were (as upstream)."""
    for name, types in _OF_TYPE.items():
        no_longer = before.get("type") in types and spec.get("type") not in types
        if no_longer and spec.get(name) == before.get(name):
            spec.pop(name, None)


def _wants_ip(spec: Object) -> bool:
    return bool(spec.get("type", "ClusterIP") != "ExternalName")


def _wants_ports(spec: Object) -> bool:
    kind = str(spec.get("type"))
    return kind == "NodePort" or (
        kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def _assign_ip(spec: Object, pick: Pick) -> None:
    listed = spec.get("clusterIPs") or [""]
    address = spec.get("clusterIP") or listed[0] or pick(IP_CLAIMS)
    spec["clusterIP"], spec["clusterIPs"] = address, [address]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("internalTrafficPolicy", "Cluster")


def _shared_port(spec: Object, port: Object, pick: Pick) -> int:
    """TCP and UDP of one port number share their node port, as upstream's allocator does."""
    for other in spec["ports"]:
        differs = other.get("protocol", "TCP") != port.get("protocol", "TCP")
        if differs and other.get("port") == port.get("port") and other.get("nodePort"):
            return int(other["nodePort"])
    return int(pick(PORT_CLAIMS))


def _keep_ports(spec: Object, before: Object) -> None:
    known = {
        (p.get("protocol", "TCP"), p.get("port")): p.get("nodePort")
        for p in before.get("ports") or ()
    }
    for port in spec.get("ports") or ():
        number = known.get((port.get("protocol", "TCP"), port.get("port")))
        if not port.get("nodePort") and number:
            port["nodePort"] = number
