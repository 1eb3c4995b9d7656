"""CEL expressions about devices. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cluster.machinery.cel import CelError, Environment, Meter, Program, types
from cluster.machinery.cel.library import quantities, versions
from cluster.scheduler.devices.pools import Device

Object = dict[str, Any]
BUDGET = 1_000_000.0
"""What one expression may cost for one device (upstream's limit)."""

_ATTRIBUTES = types.map_of(types.STRING, types.map_of(types.STRING, types.DYN))
_CAPACITY = types.map_of(
    types.STRING, types.map_of(types.STRING, types.Type("kubernetes.Quantity"))
)
_DEVICE = types.object_type(
    "kubernetes.DRADevice",
    {
        "driver": types.STRING,
        "attributes": _ATTRIBUTES,
        "capacity": _CAPACITY,
        "allowMultipleAllocations": types.BOOL,
    },
)


class Domains(dict[str, Any]):
    """A domain of which the device says nothing is empty, not missing."""

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str)

    def __missing__(self, key: str) -> Object:
        return {}


@lru_cache(maxsize=512)
def compiled(expression: str) -> Program:
    """Raises CelError."""
    return Environment({"device": _DEVICE}).compile(expression)


def selects(expression: str, device: Device) -> bool:
    """Raises CelError, also where the answer is no truth value."""
    answer = compiled(expression).evaluate({"device": described(device)}, Meter(BUDGET))
    if not isinstance(answer, bool):
        raise CelError(f"CEL expression must return bool: {expression}")
    return answer


def described(device: Device) -> Object:
    """The device as expressions see it; names without a domain are of its driver's."""
    return {
        "driver": device.driver,
        "attributes": _by_domain(device, "attributes", _attribute),
        "capacity": _by_domain(device, "capacity", _quantity),
        "allowMultipleAllocations": bool(device.given.get("allowMultipleAllocations")),
    }


def _by_domain(device: Device, kind: str, read: Any) -> Domains:
    found = Domains()
    for name, value in (device.given.get(kind) or {}).items():
        domain, _, bare = name.rpartition("/")
        found.setdefault(domain or device.driver, {})[bare] = read(value)
    return found


def _attribute(value: Object) -> Any:
    if "version" in value:
        return versions.parse(value["version"])
    return next(iter(value.values()))


def _quantity(value: Object) -> Any:
    return quantities.parse(value["value"])
