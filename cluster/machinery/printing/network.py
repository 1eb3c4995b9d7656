"""Rows of services and what stands behind them."""

from __future__ import annotations

from typing import Any

from cluster.machinery import meta
from cluster.machinery.printing.columns import (
    AGE,
    NAME,
    NONE,
    Cells,
    Column,
    Printer,
    first,
    labels,
)
from cluster.machinery.printing.duration import age


def _service(obj: meta.Object, now_s: float) -> Cells:
    spec = obj["spec"]
    return [
        obj["metadata"]["name"],
        spec.get("type", "ClusterIP"),
        spec.get("clusterIP") or NONE,
        _external_address(obj),
        ",".join(_service_port(port) for port in spec.get("ports") or []) or NONE,
        age(obj, now_s),
        labels(spec.get("selector")),
    ]


def _service_port(port: dict[str, Any]) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}"


def _external_address(obj: meta.Object) -> str:
    spec = obj["spec"]
    given = ",".join(spec.get("externalIPs") or [])
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    if spec.get("type") == "LoadBalancer":
        entries = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or []
        found = [entry.get("ip") or entry.get("hostname", "") for entry in entries]
        return ",".join(filter(None, [*found, given])) or "<pending>"
    return given or NONE


def _endpoints(obj: meta.Object, now_s: float) -> Cells:
    found = []
    for subset in obj.get("subsets") or []:
        addresses = [address["ip"] for address in subset.get("addresses") or []]
        for port in subset.get("ports") or [{}]:
            suffix = f":{port['port']}" if "port" in port else ""
            found += [address + suffix for address in addresses]
    return [obj["metadata"]["name"], first(found), age(obj, now_s)]


def _endpoint_slice(obj: meta.Object, now_s: float) -> Cells:
    ports = obj.get("ports") or []
    addresses = [
        address for endpoint in obj.get("endpoints") or [] for address in endpoint["addresses"]
    ]
    return [
        obj["metadata"]["name"],
        obj.get("addressType", ""),
        first([str(port.get("port", "*")) for port in ports]) if ports else "<unset>",
        first(addresses) if addresses else "<unset>",
        age(obj, now_s),
    ]


PRINTERS = {
    "services": Printer(
        (NAME, Column("Type"), Column("Cluster-IP"), Column("External-IP"), Column("Port(s)"),
         AGE, Column("Selector", wide=True)), _service),
    "endpoints": Printer((NAME, Column("Endpoints"), AGE), _endpoints),
    "endpointslices.discovery.k8s.io": Printer(
        (NAME, Column("AddressType"), Column("Ports"), Column("Endpoints"), AGE),
        _endpoint_slice),
}  # fmt: skip
