"""Rows of services, what stands behind them and what leads to them."""

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
    label_selector,
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


def _ingress(obj: meta.Object, now_s: float) -> Cells:
    spec = obj.get("spec") or {}
    entries = (obj.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
    hosts = list(dict.fromkeys(r["host"] for r in spec.get("rules") or [] if r.get("host")))
    return [
        obj["metadata"]["name"],
        spec.get("ingressClassName") or NONE,
        first(hosts) if hosts else "*",
        ",".join(e.get("ip") or e.get("hostname", "") for e in entries),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now_s),
    ]


def _ingress_class(obj: meta.Object, now_s: float) -> Cells:
    spec = obj.get("spec") or {}
    found = spec.get("parameters")
    text = NONE
    if found:
        group = f".{found['apiGroup']}" if found.get("apiGroup") else ""
        text = f"{found.get('kind', '')}{group}/{found.get('name', '')}"
    return [obj["metadata"]["name"], spec.get("controller", ""), text, age(obj, now_s)]


def _network_policy(obj: meta.Object, now_s: float) -> Cells:
    selector = label_selector((obj.get("spec") or {}).get("podSelector"))
    return [obj["metadata"]["name"], selector, age(obj, now_s)]


def _ip_address(obj: meta.Object, now_s: float) -> Cells:
    parent = (obj.get("spec") or {}).get("parentRef") or {}
    steps = [parent.get("resource", ""), parent.get("namespace", ""), parent.get("name", "")]
    if parent.get("group"):
        steps[0] = f"{steps[0]}.{parent['group']}"
    return [obj["metadata"]["name"], "/".join(filter(None, steps)), age(obj, now_s)]


def _service_cidr(obj: meta.Object, now_s: float) -> Cells:
    cidrs = (obj.get("spec") or {}).get("cidrs") or []
    return [obj["metadata"]["name"], ",".join(cidrs), age(obj, now_s)]


PRINTERS = {
    "services": Printer(
        (NAME, Column("Type"), Column("Cluster-IP"), Column("External-IP"), Column("Port(s)"),
         AGE, Column("Selector", wide=True)), _service),
    "endpoints": Printer((NAME, Column("Endpoints"), AGE), _endpoints),
    "ingresses.networking.k8s.io": Printer(
        (NAME, Column("Class"), Column("Hosts"), Column("Address"), Column("Ports"), AGE),
        _ingress),
    "ingressclasses.networking.k8s.io": Printer(
        (NAME, Column("Controller"), Column("Parameters"), AGE), _ingress_class),
    "networkpolicies.networking.k8s.io": Printer(
        (NAME, Column("Pod-Selector"), AGE), _network_policy),
    "ipaddresses.networking.k8s.io": Printer((NAME, Column("ParentRef"), AGE), _ip_address),
    "servicecidrs.networking.k8s.io": Printer((NAME, Column("CIDRs"), AGE), _service_cidr),
    "endpointslices.discovery.k8s.io": Printer(
        (NAME, Column("AddressType"), Column("Ports"), Column("Endpoints"), AGE),
        _endpoint_slice),
}  # fmt: skip
