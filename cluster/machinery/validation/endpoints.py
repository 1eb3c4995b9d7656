"""Endpoints and endpoint slices."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from cluster.machinery.validation import formats, metadata
from cluster.machinery.validation.containers import PROTOCOLS
from cluster.machinery.validation.field import Errors, Object

MAX_ENDPOINTS, MAX_ADDRESSES = 1000, 100
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")


def validate(obj: Object, errors: Errors) -> None:
    """Each subset has addresses, and ports with names where there are several."""
    for at, subset in enumerate(obj.get("subsets") or ()):
        path = f"subsets[{at}]"
        lists = ("addresses", "notReadyAddresses")
        if not any(subset.get(name) for name in lists):
            errors.required(path, "must specify `addresses` or `notReadyAddresses`")
        for name in lists:
            for index, address in enumerate(subset.get(name) or ()):
                found = address.get("ip") or ""
                errors.all_invalid(f"{path}.{name}[{index}].ip", found, formats.ip_address(found))
        ports = subset.get("ports") or ()
        for index, port in enumerate(ports):
            _port(port, f"{path}.ports[{index}]", len(ports) > 1, errors)


def _port(port: Object, path: str, name_needed: bool, errors: Errors) -> None:
    if name_needed and not port.get("name"):
        errors.required(f"{path}.name")
    elif port.get("name"):
        errors.all_invalid(f"{path}.name", port["name"], formats.label(port["name"]))
    number = port.get("port") or 0
    errors.all_invalid(f"{path}.port", number, formats.port_number(number))
    errors.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)


def validate_slice(obj: Object, errors: Errors) -> None:
    """Addresses of the slice's type, and ports of unique names."""
    type_ = obj.get("addressType")
    errors.one_of("addressType", type_, _ADDRESS_TYPES)
    endpoints = obj.get("endpoints") or ()
    if len(endpoints) > MAX_ENDPOINTS:
        errors.too_many("endpoints", len(endpoints), MAX_ENDPOINTS)
        return
    for at, endpoint in enumerate(endpoints):
        _endpoint(endpoint, f"endpoints[{at}]", type_, errors)
    _slice_ports(obj.get("ports") or (), errors)


def _endpoint(endpoint: Object, path: str, type_: str | None, errors: Errors) -> None:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        errors.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > MAX_ADDRESSES:
        errors.too_many(f"{path}.addresses", len(addresses), MAX_ADDRESSES)
    for at, address in enumerate(addresses):
        errors.all_invalid(f"{path}.addresses[{at}]", address, _address(address, type_))
    hostname = endpoint.get("hostname")
    if hostname:
        errors.all_invalid(f"{path}.hostname", hostname, formats.label(hostname))


def _address(address: str, type_: str | None) -> list[str]:
    if type_ == "FQDN":
        return formats.subdomain(address)
    wrong = formats.ip_address(address)
    if wrong or type_ not in ("IPv4", "IPv6"):
        return wrong
    is_v4 = ipaddress.ip_address(address).version == 4
    return [] if is_v4 == (type_ == "IPv4") else [f"must be an {type_} address"]


def _slice_ports(ports: Iterable[Object], errors: Errors) -> None:
    names: set[str] = set()
    for at, port in enumerate(ports):
        path = f"ports[{at}]"
        name = port.get("name") or ""
        if name:
            errors.all_invalid(f"{path}.name", name, formats.label(name))
        if name in names:
            errors.duplicate(f"{path}.name", name)
        names.add(name)
        errors.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
        if port.get("port") is not None:
            errors.all_invalid(f"{path}.port", port["port"], formats.port_number(port["port"]))


def validate_slice_update(new: Object, old: Object, errors: Errors) -> None:
    """The type of addresses never changes."""
    metadata.immutable(new, old, "addressType", errors)
