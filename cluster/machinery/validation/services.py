"""Services."""

from __future__ import annotations

from cluster.machinery.validation import formats, metadata
from cluster.machinery.validation.containers import PROTOCOLS
from cluster.machinery.validation.field import Errors, Object

MAX_AFFINITY_S = 86400
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_POLICIES = ("Cluster", "Local")


def validate(service: Object, errors: Errors) -> None:
    """Type, ports, addresses, affinity and policies."""
    spec = service.get("spec") or {}
    _by_type(spec, errors)
    _ports(spec, errors)
    if spec.get("selector"):
        metadata.labels(spec["selector"], "spec.selector", errors)
    _affinity(spec, errors)
    for at, address in enumerate(spec.get("clusterIPs") or ()):
        if address != "None":
            errors.all_invalid(f"spec.clusterIPs[{at}]", address, formats.ip_address(address))
    for at, address in enumerate(spec.get("externalIPs") or ()):
        errors.all_invalid(f"spec.externalIPs[{at}]", address, formats.ip_address(address))
    errors.one_of("spec.type", spec.get("type"), _TYPES)
    _traffic(spec, errors)


def _is_headless(spec: Object) -> bool:
    return bool(spec.get("clusterIP") == "None" or "None" in (spec.get("clusterIPs") or ()))


def _by_type(spec: Object, errors: Errors) -> None:
    type_ = spec.get("type")
    if not spec.get("ports") and not _is_headless(spec) and type_ != "ExternalName":
        errors.required("spec.ports")
    if type_ in ("LoadBalancer", "NodePort") and _is_headless(spec):
        detail = f"may not be set to 'None' for {type_} services"
        errors.invalid("spec.clusterIPs[0]", "None", detail)
    if type_ == "ExternalName":
        name = (spec.get("externalName") or "").removesuffix(".")
        if not name:
            errors.required("spec.externalName")
        else:
            errors.all_invalid("spec.externalName", name, formats.subdomain(name))
        if spec.get("clusterIPs"):
            errors.forbidden("spec.clusterIPs", "may not be set for ExternalName services")


def _ports(spec: Object, errors: Errors) -> None:
    ports = spec.get("ports") or ()
    names: set[str] = set()
    taken: set[tuple[str, int]] = set()
    for at, port in enumerate(ports):
        path = f"spec.ports[{at}]"
        _port_name(port.get("name"), path, names, len(ports) > 1, errors)
        number, protocol = port.get("port") or 0, port.get("protocol")
        errors.all_invalid(f"{path}.port", number, formats.port_number(number))
        errors.one_of(f"{path}.protocol", protocol, PROTOCOLS)
        target = port.get("targetPort", number)
        errors.all_invalid(f"{path}.targetPort", target, formats.port_or_name(target))
        if (protocol, number) in taken:
            errors.duplicate(path, {"port": number, "protocol": protocol})
        taken.add((protocol, number))
    _node_ports(spec, errors)


def _port_name(name: str | None, path: str, names: set[str], needed: bool, errors: Errors) -> None:
    if not name:
        if needed:
            errors.required(f"{path}.name")
        return
    errors.all_invalid(f"{path}.name", name, formats.label(name))
    if name in names:
        errors.duplicate(f"{path}.name", name)
    names.add(name)


def _node_ports(spec: Object, errors: Errors) -> None:
    taken: set[tuple[str, int]] = set()
    for at, port in enumerate(spec.get("ports") or ()):
        number = port.get("nodePort")
        if not number:
            continue
        path = f"spec.ports[{at}].nodePort"
        if spec.get("type") == "ClusterIP":
            errors.forbidden(path, "may not be used when `type` is 'ClusterIP'")
        key = (port.get("protocol"), number)
        if key in taken:
            errors.duplicate(path, number)
        taken.add(key)


def _affinity(spec: Object, errors: Errors) -> None:
    affinity = spec.get("sessionAffinity")
    errors.one_of("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    config = spec.get("sessionAffinityConfig")
    if affinity == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds") or 0
        if not 0 < seconds <= MAX_AFFINITY_S:
            errors.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds,
                           f"must be greater than 0 and less than {MAX_AFFINITY_S}")  # fmt: skip
    elif config is not None:
        errors.forbidden("spec.sessionAffinityConfig",
                         "must not be set when session affinity is None")  # fmt: skip


def _traffic(spec: Object, errors: Errors) -> None:
    outside = spec.get("externalTrafficPolicy")
    reachable = spec.get("type") in ("LoadBalancer", "NodePort") or spec.get("externalIPs")
    if outside and not reachable:
        errors.invalid("spec.externalTrafficPolicy", outside,
                       "may only be set for externally-accessible services")  # fmt: skip
    elif outside and outside not in _POLICIES:
        errors.not_supported("spec.externalTrafficPolicy", outside, _POLICIES)
    inside = spec.get("internalTrafficPolicy")
    if inside and inside not in _POLICIES:
        errors.not_supported("spec.internalTrafficPolicy", inside, _POLICIES)


def validate_update(new: Object, old: Object, errors: Errors) -> None:
    """A cluster address stays as long as the service has one."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" in (after.get("type"), before.get("type")):
        return
    addresses, previous = _addresses(after), _addresses(before)
    if not previous or addresses[:1] == previous[:1]:
        return
    if not addresses:
        errors.invalid("spec.clusterIPs[0]", addresses, "primary clusterIP can not be unset")
    else:
        errors.invalid("spec.clusterIPs[0]", addresses, "may not change once set")


def _addresses(spec: Object) -> list[str]:
    return spec.get("clusterIPs") or [a for a in (spec.get("clusterIP"),) if a]
