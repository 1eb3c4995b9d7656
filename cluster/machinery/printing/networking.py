"""Services, endpoints and endpoint slices."""

from __future__ import annotations

from typing import Any

from cluster.machinery.printing.columns import (
    AGE,
    NAME,
    NONE,
    Column,
    Object,
    Printer,
    age,
    first_few,
    labels_text,
    name,
    wide,
)

_SERVICE = (
    NAME,
    Column("Type", "How the service is exposed."),
    Column("Cluster-IP", "The address of the service inside the cluster."),
    Column("External-IP", "The addresses of the service outside the cluster."),
    Column("Port(s)", "The ports, and the node ports behind colons."),
    AGE,
    wide("Selector", "The labels of the pods behind the service."),
)


def _service(service: Object, now_s: float) -> list[Any]:
    spec = service.get("spec") or {}
    address = (spec.get("clusterIPs") or [spec.get("clusterIP")])[0]
    return [
        name(service),
        spec.get("type", ""),
        address or NONE,
        _external(service, spec),
        ",".join(_port(port) for port in spec.get("ports") or ()) or NONE,
        age(service, now_s),
        labels_text(spec.get("selector")),
    ]


def _external(service: Object, spec: Object) -> str:
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    listed = ",".join(spec.get("externalIPs") or ())
    if spec.get("type") != "LoadBalancer":
        return listed or NONE
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    balanced = [entry.get("ip") or entry.get("hostname") or "" for entry in ingress]
    return ",".join([*filter(None, balanced), *filter(None, [listed])]) or "<pending>"


def _port(port: Object) -> str:
    outside = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{outside}/{port.get('protocol', 'TCP')}"


_ENDPOINTS = (NAME, Column("Endpoints", "The first addresses and ports."), AGE)


def _endpoints(endpoints: Object, now_s: float) -> list[Any]:
    texts: list[str] = []
    for subset in endpoints.get("subsets") or ():
        addresses = [a.get("ip", "") for a in subset.get("addresses") or ()]
        ports = [port.get("port") for port in subset.get("ports") or ()]
        texts += [_host_port(a, p) for p in ports for a in addresses] if ports else addresses
    return [name(endpoints), first_few(texts, NONE), age(endpoints, now_s)]


def _host_port(address: str, port: Any) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


_SLICE = (
    NAME,
    Column("AddressType", "The kind of addresses in this slice."),
    Column("Ports", "The first ports."),
    Column("Endpoints", "The first addresses."),
    AGE,
)


def _endpoint_slice(slice_: Object, now_s: float) -> list[Any]:
    ports = [str(port.get("port") or "*") for port in slice_.get("ports") or ()]
    addresses = [
        address for endpoint in slice_.get("endpoints") or () for address in endpoint["addresses"]
    ]
    return [
        name(slice_),
        slice_.get("addressType", ""),
        first_few(ports, "<unset>"),
        first_few(addresses, "<unset>"),
        age(slice_, now_s),
    ]


PRINTERS = {
    "services": Printer(_SERVICE, _service),
    "endpoints": Printer(_ENDPOINTS, _endpoints),
    "endpointslices.discovery.k8s.io": Printer(_SLICE, _endpoint_slice),
}
