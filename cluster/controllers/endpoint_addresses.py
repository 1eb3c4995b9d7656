"""Which pods stand behind a Service, and on which ports. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers import pods
from cluster.machinery import meta, selectors

Object = dict[str, Any]
PortSet = tuple[tuple[str, str, int | None, str], ...]
"""(name, protocol, port, appProtocol) of each port, in the Service's order."""

HEADLESS = "service.kubernetes.io/headless"


def has_own_endpoints(service: Object) -> bool:
    """Services without a selector have their endpoints from elsewhere; aliases have none."""
    spec = service.get("spec") or {}
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def is_headless(service: Object) -> bool:
    return (service.get("spec") or {}).get("clusterIP") == "None"


def selects(service: Object, pod: Object) -> bool:
    selector = selectors.from_labels(service["spec"].get("selector"))
    return selector.matches(pod["metadata"].get("labels"))


def candidates(service: Object, known: Iterable[Object]) -> list[Object]:
    """Pods with an address that have not finished, by name."""
    found = [
        pod
        for pod in known
        if selects(service, pod)
        and (pod.get("status") or {}).get("podIP")
        and not pods.is_terminated(pod)
    ]
    return sorted(found, key=meta.key)


def ports_of(service: Object, pod: Object) -> PortSet:
    """The Service's ports as numbers in this pod; a name that the pod lacks is left out."""
    result = []
    for port in service["spec"].get("ports") or ():
        number = _target(port, pod)
        if number is not None:
            protocol = port.get("protocol", "TCP")
            result.append((port.get("name", ""), protocol, number, port.get("appProtocol", "")))
    return tuple(result)


def _target(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    spec = pod.get("spec") or {}
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for offered in container.get("ports") or ():
            same_protocol = offered.get("protocol", "TCP") == port.get("protocol", "TCP")
            if offered.get("name") == target and same_protocol:
                return int(offered["containerPort"])
    return None


def port_objects(ports: PortSet) -> list[Object]:
    """As they stand in Endpoints and EndpointSlices."""
    fields = ("name", "protocol", "port", "appProtocol")
    return [
        {f: v for f, v in zip(fields, port, strict=True) if v not in ("", None)} for port in ports
    ]


def target_ref(pod: Object) -> Object:
    metadata = pod["metadata"]
    reference = {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"]}
    return reference | {"uid": metadata["uid"]}


def hostname(service: Object, pod: Object) -> str:
    """Set for pods that name this Service as their subdomain."""
    spec = pod["spec"]
    if spec.get("subdomain") != service["metadata"]["name"]:
        return ""
    return str(spec.get("hostname") or "")


def group(service: Object, members: Sequence[Object]) -> dict[PortSet, list[Object]]:
    """Pods by the ports they offer; a pod that offers none of them is behind no port."""
    groups: dict[PortSet, list[Object]] = {}
    for pod in members:
        ports = ports_of(service, pod)
        if ports or not service["spec"].get("ports"):
            groups.setdefault(ports, []).append(pod)
    return groups
