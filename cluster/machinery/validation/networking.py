"""Ingresses and their classes, network policies, addresses and their ranges."""

from __future__ import annotations

import ipaddress
import re

from cluster.machinery.validation import formats, metadata, selectors
from cluster.machinery.validation.field import Errors, Object

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_WILDCARD = re.compile(r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
CIDR_WRONG = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
MAX_CONTROLLER = 250


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


# --- ingresses ---


def validate_ingress(obj: Object, errors: Errors) -> None:
    """Something to lead to, by paths that can be told apart."""
    spec = _spec(obj)
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        text = "either `defaultBackend` or `rules` must be specified"
        errors.invalid("spec", spec.get("rules") or [], text)
    if spec.get("defaultBackend") is not None:
        _backend(spec["defaultBackend"], "spec.defaultBackend", errors)
    for at, rule in enumerate(spec.get("rules") or ()):
        _rule(rule, f"spec.rules[{at}]", errors)
    for at, tls in enumerate(spec.get("tls") or ()):
        for index, host in enumerate(tls.get("hosts") or ()):
            _host(host, f"spec.tls[{at}].hosts[{index}]", errors)
    name = spec.get("ingressClassName")
    if name is not None:
        errors.all_invalid("spec.ingressClassName", name, formats.subdomain(name))


def validate_new_ingress(obj: Object, errors: Errors) -> None:
    """On creation the class is said in one place."""
    validate_ingress(obj, errors)
    annotation = (obj["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    if annotation is not None and _spec(obj).get("ingressClassName") is not None:
        path = f"metadata.annotations.{CLASS_ANNOTATION}"
        errors.invalid(path, annotation, "can not be set when the class field is also set")


def _host(host: str, path: str, errors: Errors) -> None:
    if not formats.ip_address(host):
        errors.invalid(path, host, "must be a DNS name, not an IP address")
    elif host.startswith("*"):
        if not _WILDCARD.fullmatch(host):
            text = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS"
            errors.invalid(path, host, f"{text} subdomain")
    else:
        errors.all_invalid(path, host, formats.subdomain(host))


def _rule(rule: Object, path: str, errors: Errors) -> None:
    if rule.get("host"):
        _host(rule["host"], f"{path}.host", errors)
    http = rule.get("http")
    if http is None:
        return
    if not http.get("paths"):
        errors.required(f"{path}.http.paths")
    for at, entry in enumerate(http.get("paths") or ()):
        place = f"{path}.http.paths[{at}]"
        _path(entry, place, errors)
        _backend(entry.get("backend") or {}, f"{place}.backend", errors)


def _path(entry: Object, place: str, errors: Errors) -> None:
    type_, path = entry.get("pathType"), entry.get("path") or ""
    if not type_:
        errors.required(f"{place}.pathType", "pathType must be specified")
    elif type_ not in _PATH_TYPES:
        errors.not_supported(f"{place}.pathType", type_, _PATH_TYPES)
    elif type_ == "ImplementationSpecific":
        if path and not path.startswith("/"):
            errors.invalid(f"{place}.path", path, "must be an absolute path")
    else:
        if not path.startswith("/"):
            errors.invalid(f"{place}.path", path, "must be an absolute path")
        for bad in _BAD_SEQUENCES:
            if bad in path:
                errors.invalid(f"{place}.path", path, f"must not contain '{bad}'")
        for bad in _BAD_SUFFIXES:
            if path.endswith(bad):
                errors.invalid(f"{place}.path", path, f"cannot end with '{bad}'")


def _backend(backend: Object, path: str, errors: Errors) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        errors.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        for name in ("kind", "name"):
            if not resource.get(name):
                errors.required(f"{path}.resource.{name}")
    elif service is None:
        errors.required(path, "resource or service backend is required")
    else:
        name, port = service.get("name") or "", service.get("port") or {}
        if not name:
            errors.required(f"{path}.service.name")
        else:
            errors.all_invalid(f"{path}.service.name", name, formats.label_1035(name))
        if port.get("name") and port.get("number"):
            errors.invalid(path, "", "cannot set both port name & port number")
        elif port.get("name"):
            wrong = formats.port_name(port["name"])
            errors.all_invalid(f"{path}.service.port.name", port["name"], wrong)
        elif port.get("number"):
            wrong = formats.port_number(port["number"])
            errors.all_invalid(f"{path}.service.port.number", port["number"], wrong)
        else:
            errors.required(path, "port name or number is required")


def validate_ingress_class(obj: Object, errors: Errors) -> None:
    """A controller's name is a domain with a path."""
    controller = _spec(obj).get("controller") or ""
    if not controller:
        errors.required("spec.controller")
    else:
        if len(controller) > MAX_CONTROLLER:
            errors.too_long("spec.controller", MAX_CONTROLLER)
        domain, slash, rest = controller.partition("/")
        if not slash or not rest:
            text = 'must be a domain-prefixed path (such as "acme.io/foo")'
            errors.invalid("spec.controller", controller, text)
        else:
            errors.all_invalid("spec.controller", domain, formats.subdomain(domain))
    parameters = _spec(obj).get("parameters")
    if parameters is not None:
        for name in ("kind", "name"):
            if not parameters.get(name):
                errors.required(f"spec.parameters.{name}")
        scope = parameters.get("scope")
        errors.one_of("spec.parameters.scope", scope, ("Cluster", "Namespace"))
        if scope == "Namespace" and not parameters.get("namespace"):
            text = '`parameters.scope` is set to "Namespace"'
            errors.required("spec.parameters.namespace", text)
        if scope == "Cluster" and parameters.get("namespace"):
            text = '`parameters.scope` is set to "Cluster"'
            errors.forbidden("spec.parameters.namespace", text)


def validate_ingress_class_update(new: Object, old: Object, errors: Errors) -> None:
    """The controller stays."""
    metadata.immutable(new, old, "spec.controller", errors)


# --- network policies ---


def validate_network_policy(obj: Object, errors: Errors) -> None:
    """Peers, ports and directions."""
    spec = _spec(obj)
    selectors.validate(spec.get("podSelector") or {}, "spec.podSelector", errors)
    for name, peers in (("ingress", "from"), ("egress", "to")):
        for at, rule in enumerate(spec.get(name) or ()):
            path = f"spec.{name}[{at}]"
            for index, port in enumerate(rule.get("ports") or ()):
                _port(port, f"{path}.ports[{index}]", errors)
            for index, peer in enumerate(rule.get(peers) or ()):
                _peer(peer, f"{path}.{peers}[{index}]", errors)
    types = spec.get("policyTypes") or ()
    if len(types) > 2:
        text = "may not specify more than two policyTypes"
        errors.invalid("spec.policyTypes", list(types), text)
    for at, type_ in enumerate(types):
        if type_ not in ("Egress", "Ingress"):
            errors.not_supported(f"spec.policyTypes[{at}]", type_, ("Egress", "Ingress"))


def _port(found: Object, path: str, errors: Errors) -> None:
    if found.get("protocol") not in (None, *_PROTOCOLS):
        errors.not_supported(f"{path}.protocol", found["protocol"], _PROTOCOLS)
    port, end = found.get("port"), found.get("endPort")
    if port is not None:
        errors.all_invalid(f"{path}.port", port, formats.port_or_name(port))
    if end is None:
        return
    if port is None:
        errors.invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")
    elif isinstance(port, str):
        errors.invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
    elif end < port:
        errors.invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")


def _peer(peer: Object, path: str, errors: Errors) -> None:
    chosen = [name for name in ("podSelector", "namespaceSelector") if peer.get(name) is not None]
    for name in chosen:
        selectors.validate(peer[name], f"{path}.{name}", errors)
    block = peer.get("ipBlock")
    if block is None:
        if not chosen:
            errors.required(path, "must specify a peer")
        return
    if chosen:
        errors.forbidden(path, "may not specify both ipBlock and another peer")
    outer = _network(block.get("cidr") or "", f"{path}.ipBlock.cidr", errors)
    for at, text in enumerate(block.get("except") or ()):
        place = f"{path}.ipBlock.except[{at}]"
        inner = _network(text, place, errors)
        if outer is None or inner is None:
            continue
        if inner.version != outer.version or not _strictly_within(inner, outer):
            errors.invalid(place, text, "must be a strict subset of `cidr`")


def _strictly_within(
    inner: ipaddress.IPv4Network | ipaddress.IPv6Network,
    outer: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> bool:
    return inner.prefixlen > outer.prefixlen and inner.network_address in outer


def _network(
    text: str, path: str, errors: Errors
) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if not text:
        errors.required(path)
        return None
    try:
        if "/" not in text:
            raise ValueError(text)
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        errors.invalid(path, text, CIDR_WRONG)
        return None


# --- addresses ---


def validate_ip_address(obj: Object, errors: Errors) -> None:
    """The name is the address; somebody holds it."""
    name = (obj.get("metadata") or {}).get("name") or ""
    errors.all_invalid("metadata.name", name, formats.ip_address(name))
    parent = _spec(obj).get("parentRef")
    if parent is None:
        errors.required("spec.parentRef")
        return
    for field in ("resource", "name"):
        if not parent.get(field):
            errors.required(f"spec.parentRef.{field}")


def validate_ip_address_update(new: Object, old: Object, errors: Errors) -> None:
    """The holder stays."""
    metadata.immutable(new, old, "spec.parentRef", errors)


def validate_service_cidr(obj: Object, errors: Errors) -> None:
    """One range, or one of each family."""
    cidrs = _spec(obj).get("cidrs") or []
    if not cidrs:
        errors.required("spec.cidrs", "at least one CIDR required")
    if len(cidrs) > 2:
        text = "may only hold up to 2 values"
        errors.invalid("spec", _spec(obj), text)
    found = [_network(text, f"spec.cidrs[{at}]", errors) for at, text in enumerate(cidrs)]
    versions = [network.version for network in found if network is not None]
    if len(versions) == 2 and versions[0] == versions[1]:
        errors.invalid("spec", _spec(obj), "may specify no more than one IP for each IP family")


def validate_service_cidr_update(new: Object, old: Object, errors: Errors) -> None:
    """The ranges stay."""
    metadata.immutable(new, old, "spec.cidrs", errors)
