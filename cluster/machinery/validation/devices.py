"""Dynamic resource allocation: device classes, claims and slices (resource.k8s.io)."""

from __future__ import annotations

from cluster.machinery.validation import formats, metadata
from cluster.machinery.validation.field import Errors, Object

MAX_SELECTORS = 32
MAX_REQUESTS = 32
MAX_DEVICES = 128
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def validate_class(obj: Object, errors: Errors) -> None:
    """Selectors and configurations of drivers."""
    _selectors(_spec(obj).get("selectors") or [], "spec.selectors", errors)


def _selectors(found: list[Object], path: str, errors: Errors) -> None:
    if len(found) > MAX_SELECTORS:
        errors.too_many(path, len(found), MAX_SELECTORS)
    for at, selector in enumerate(found):
        if selector.get("cel") is None:
            errors.required(f"{path}[{at}].cel")
        elif not selector["cel"].get("expression"):
            errors.required(f"{path}[{at}].cel.expression")


def validate_claim(obj: Object, errors: Errors) -> None:
    """What is asked for."""
    _devices(_spec(obj).get("devices") or {}, "spec.devices", errors)


def validate_claim_template(obj: Object, errors: Errors) -> None:
    """As a claim."""
    inner = _spec(obj).get("spec") or {}
    _devices(inner.get("devices") or {}, "spec.spec.devices", errors)


def _devices(devices: Object, path: str, errors: Errors) -> None:
    requests = devices.get("requests") or []
    if len(requests) > MAX_REQUESTS:
        errors.too_many(f"{path}.requests", len(requests), MAX_REQUESTS)
    seen: set[str] = set()
    for at, request in enumerate(requests):
        place = f"{path}.requests[{at}]"
        _name(request, place, seen, errors)
        exact, choices = request.get("exactly"), request.get("firstAvailable")
        if (exact is None) == (not choices):
            errors.invalid(
                place, request, "exactly one of `exactly` or `firstAvailable` is required"
            )
        if exact is not None:
            _exact(exact, f"{place}.exactly", errors)
        inner: set[str] = set()
        for index, choice in enumerate(choices or ()):
            _name(choice, f"{place}.firstAvailable[{index}]", inner, errors)
            _exact(choice, f"{place}.firstAvailable[{index}]", errors)


def _name(holder: Object, path: str, seen: set[str], errors: Errors) -> None:
    name = holder.get("name") or ""
    if not name:
        errors.required(f"{path}.name")
        return
    errors.all_invalid(f"{path}.name", name, formats.label(name))
    if name in seen:
        errors.duplicate(f"{path}.name", name)
    seen.add(name)


def _exact(request: Object, path: str, errors: Errors) -> None:
    name = request.get("deviceClassName") or ""
    if not name:
        errors.required(f"{path}.deviceClassName")
    else:
        errors.all_invalid(f"{path}.deviceClassName", name, formats.subdomain(name))
    mode, count = request.get("allocationMode"), request.get("count", 0)
    if mode == "ExactCount":
        if count <= 0:
            errors.invalid(f"{path}.count", count, "must be greater than zero")
    elif mode == "All":
        if count:
            text = "must not be specified when allocationMode is 'All'"
            errors.invalid(f"{path}.count", count, text)
    else:
        errors.not_supported(f"{path}.allocationMode", mode or "", ("All", "ExactCount"))
    _selectors(request.get("selectors") or [], f"{path}.selectors", errors)


def validate_fixed_spec(new: Object, old: Object, errors: Errors) -> None:
    """What is asked for never changes."""
    metadata.immutable(new, old, "spec", errors)


def validate_slice(obj: Object, errors: Errors) -> None:
    """Whose devices they are, where they are, and that each is named once."""
    spec = _spec(obj)
    for field, value in (
        ("driver", spec.get("driver")),
        ("pool.name", (spec.get("pool") or {}).get("name")),
    ):
        if not value:
            errors.required(f"spec.{field}")
    if (spec.get("pool") or {}).get("resourceSliceCount", 0) <= 0:
        count = (spec.get("pool") or {}).get("resourceSliceCount", 0)
        errors.invalid("spec.pool.resourceSliceCount", count, "must be greater than zero")
    given = [name for name in _PLACES if spec.get(name)]
    if len(given) != 1:
        listed = ", ".join(f"`{name}`" for name in _PLACES)
        text = f"exactly one of {listed} is required"
        errors.invalid("spec", {name: spec[name] for name in given}, text)
    devices = spec.get("devices") or []
    if len(devices) > MAX_DEVICES:
        errors.too_many("spec.devices", len(devices), MAX_DEVICES)
    seen: set[str] = set()
    for at, device in enumerate(devices):
        _name(device, f"spec.devices[{at}]", seen, errors)


def validate_slice_update(new: Object, old: Object, errors: Errors) -> None:
    """A slice stays where it is."""
    for name in ("driver", "pool.name", "nodeName", "nodeSelector", "allNodes"):
        metadata.immutable(new, old, f"spec.{name}", errors)
