"""Persistent volumes and claims, storage classes, and what CSI drivers register."""

from __future__ import annotations

from cluster.machinery import quantity
from cluster.machinery.validation import formats, metadata, selectors
from cluster.machinery.validation.field import Errors, Object

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_NOT_SOURCES = {
    "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName",
    "mountOptions", "volumeMode", "nodeAffinity", "volumeAttributesClassName",
}  # fmt: skip
POSITIVE = "must be greater than zero"
MAX_NODE_ID = 192
MAX_DRIVER_NAME = 63


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def _access_modes(modes: list[str], path: str, errors: Errors) -> None:
    for mode in modes:
        if mode not in _MODES:
            errors.not_supported(path, mode, _MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def _positive(amount: str, path: str, errors: Errors) -> None:
    if quantity.parse(amount) <= 0:
        errors.invalid(path, quantity.canonical(amount), POSITIVE)


def _common(spec: Object, errors: Errors) -> None:
    if spec.get("storageClassName"):
        name = spec["storageClassName"]
        errors.all_invalid("spec.storageClassName", name, formats.subdomain(name))
    if spec.get("volumeMode") not in (None, "Block", "Filesystem"):
        errors.not_supported("spec.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))


def validate_volume(obj: Object, errors: Errors) -> None:
    """Capacity, modes, and exactly one source."""
    spec = _spec(obj)
    if not spec.get("accessModes"):
        errors.required("spec.accessModes")
    _access_modes(spec.get("accessModes") or [], "spec.accessModes", errors)
    capacity = spec.get("capacity") or {}
    if not capacity:
        errors.required("spec.capacity")
    elif capacity.keys() != {"storage"}:
        errors.not_supported("spec.capacity", capacity, ("storage",))
    for name, amount in capacity.items():
        _positive(amount, f"spec.capacity[{name}]", errors)
    policies = ("Delete", "Recycle", "Retain")
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in policies:
        errors.not_supported("spec.persistentVolumeReclaimPolicy", policy, policies)
    _common(spec, errors)
    _source(spec, errors)


def _source(spec: Object, errors: Errors) -> None:
    sources = [name for name in spec if name not in _NOT_SOURCES]
    if not sources:
        errors.required("spec", "must specify a volume type")
    for name in sources[1:]:
        errors.forbidden(f"spec.{name}", "may not specify more than 1 volume type")
    for name, fields in (
        ("hostPath", ("path",)),
        ("local", ("path",)),
        ("csi", ("driver", "volumeHandle")),
        ("nfs", ("server", "path")),
    ):
        found = spec.get(name)
        if found is not None:
            for field in fields:
                if not found.get(field):
                    errors.required(f"spec.{name}.{field}")
    if spec.get("local") is not None and not spec.get("nodeAffinity"):
        errors.required("spec.nodeAffinity", "Local volume requires node affinity")
    path = (spec.get("hostPath") or {}).get("path") or ""
    if ".." in path.split("/"):
        errors.invalid("spec.hostPath.path", path, "must not contain '..'")
    if path == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        text = "may not be 'recycle' for a hostPath mount of '/'"
        errors.forbidden("spec.persistentVolumeReclaimPolicy", text)


def validate_volume_update(new: Object, old: Object, errors: Errors) -> None:
    """Where the data is never changes."""
    after, before = _spec(new), _spec(old)
    names = (after.keys() | before.keys()) - _NOT_SOURCES
    if any(after.get(name) != before.get(name) for name in names):
        text = "spec.persistentvolumesource is immutable after creation"
        errors.forbidden("spec.persistentvolumesource", text)
    metadata.immutable(new, old, "spec.volumeMode", errors)


def validate_claim(obj: Object, errors: Errors) -> None:
    """Modes and an amount of storage."""
    validate_claim_spec(_spec(obj), "spec", errors)


def validate_claim_spec(spec: Object, path: str, errors: Errors) -> None:
    """A claim, or its template elsewhere."""
    if not spec.get("accessModes"):
        errors.required(f"{path}.accessModes", "at least 1 access mode is required")
    _access_modes(spec.get("accessModes") or [], f"{path}.accessModes", errors)
    if spec.get("selector"):
        selectors.validate(spec["selector"], f"{path}.selector", errors)
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        errors.required(f"{path}.resources[storage]")
    else:
        _positive(requests["storage"], f"{path}.resources[storage]", errors)
    _common(spec, errors)
    for name in ("dataSource", "dataSourceRef"):
        found = spec.get(name)
        if found is not None:
            for field in ("name", "kind"):
                if not found.get(field):
                    errors.required(f"{path}.{name}.{field}")


def validate_claim_update(new: Object, old: Object, errors: Errors) -> None:
    """Binding fills in the volume; a bound claim may grow."""
    after, before = dict(_spec(new)), dict(_spec(old))
    if not before.get("volumeName"):
        after.pop("volumeName", None)
    if before.get("storageClassName") is None:
        after.pop("storageClassName", None)
    bound = (old.get("status") or {}).get("phase") == "Bound"
    for name in ("resources", "volumeAttributesClassName") if bound else ():
        after.pop(name, None)
        before.pop(name, None)
    if after != {k: v for k, v in before.items() if k in after or k != "volumeName" or v}:
        text = (
            "spec is immutable after creation except resources.requests and "
            "volumeAttributesClassName for bound claims"
        )
        errors.forbidden("spec", text)
    _no_shrinking(new, old, errors)


def _no_shrinking(new: Object, old: Object, errors: Errors) -> None:
    asked = ((_spec(new).get("resources") or {}).get("requests") or {}).get("storage")
    had = ((_spec(old).get("resources") or {}).get("requests") or {}).get("storage")
    there = ((old.get("status") or {}).get("capacity") or {}).get("storage")
    if not asked or not had or quantity.parse(asked) >= quantity.parse(had):
        return
    if there is None or quantity.parse(asked) <= quantity.parse(there):
        text = "field can not be less than status.capacity"
        errors.forbidden("spec.resources.requests.storage", text)


def validate_class(obj: Object, errors: Errors) -> None:
    """Provisioner, policy, mode."""
    provisioner = obj.get("provisioner")
    if not provisioner:
        errors.required("provisioner")
    else:
        wrong = formats.qualified_name(provisioner.lower())
        errors.all_invalid("provisioner", provisioner, wrong)
    if obj.get("reclaimPolicy") not in (None, "Delete", "Retain"):
        errors.not_supported("reclaimPolicy", obj["reclaimPolicy"], ("Delete", "Retain"))
    modes = ("Immediate", "WaitForFirstConsumer")
    errors.one_of("volumeBindingMode", obj.get("volumeBindingMode"), modes)


def _no_updates(new: Object, old: Object, names: tuple[str, ...], errors: Errors) -> None:
    for name in names:
        if (new.get(name) or None) != (old.get(name) or None):
            errors.forbidden(name, f"updates to {name} are forbidden.")


def validate_class_update(new: Object, old: Object, errors: Errors) -> None:
    """What existing volumes came from stays true."""
    _no_updates(new, old, ("parameters", "provisioner", "reclaimPolicy"), errors)
    metadata.immutable(new, old, "volumeBindingMode", errors)


def validate_attributes_class(obj: Object, errors: Errors) -> None:
    """Driver and parameters."""
    if not obj.get("driverName"):
        errors.required("driverName")
    if not obj.get("parameters"):
        errors.required("parameters", "must contain at least one key/value pair")


def validate_attributes_class_update(new: Object, old: Object, errors: Errors) -> None:
    """Neither changes."""
    _no_updates(new, old, ("driverName", "parameters"), errors)


def validate_driver(obj: Object, errors: Errors) -> None:
    """Policies and life cycles."""
    spec, name = _spec(obj), (obj.get("metadata") or {}).get("name") or ""
    if len(name) > MAX_DRIVER_NAME:
        errors.too_long("metadata.name", MAX_DRIVER_NAME)
    for field in ("attachRequired", "podInfoOnMount", "storageCapacity"):
        if spec.get(field) is None:
            errors.required(f"spec.{field}")
    policies = ("File", "None", "ReadWriteOnceWithFSType")
    errors.one_of("spec.fsGroupPolicy", spec.get("fsGroupPolicy"), policies)
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in ("Ephemeral", "Persistent"):
            errors.not_supported("spec.volumeLifecycleModes", mode, ("Ephemeral", "Persistent"))
    audiences: set[str] = set()
    for at, request in enumerate(spec.get("tokenRequests") or ()):
        if request.get("audience", "") in audiences:
            errors.duplicate(f"spec.tokenRequests[{at}].audience", request.get("audience", ""))
        audiences.add(request.get("audience", ""))


def validate_driver_update(new: Object, old: Object, errors: Errors) -> None:
    """How volumes are attached stays."""
    for name in ("attachRequired", "volumeLifecycleModes"):
        metadata.immutable(new, old, f"spec.{name}", errors)


def validate_csi_node(obj: Object, errors: Errors) -> None:
    """Drivers have names and ids, once each."""
    seen: set[str] = set()
    for at, driver in enumerate(_spec(obj).get("drivers") or ()):
        path, name = f"spec.drivers[{at}]", driver.get("name") or ""
        if not name:
            errors.required(f"{path}.name")
        if name in seen:
            errors.duplicate(f"{path}.name", name)
        seen.add(name)
        if not driver.get("nodeID"):
            errors.required(f"{path}.nodeID")
        elif len(driver["nodeID"]) > MAX_NODE_ID:
            errors.invalid(f"{path}.nodeID", driver["nodeID"],
                           f"must be {MAX_NODE_ID} characters or less")  # fmt: skip
        count = (driver.get("allocatable") or {}).get("count")
        errors.not_negative(f"{path}.allocatable.count", count)


def validate_attachment(obj: Object, errors: Errors) -> None:
    """Who attaches what to which node."""
    spec = _spec(obj)
    for name in ("attacher", "nodeName"):
        if not spec.get(name):
            errors.required(f"spec.{name}")
    source = spec.get("source") or {}
    if bool(source.get("persistentVolumeName")) == bool(source.get("inlineVolumeSpec")):
        text = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        errors.required("spec.source", text)


def validate_attachment_update(new: Object, old: Object, errors: Errors) -> None:
    """Nothing of the spec changes."""
    metadata.immutable(new, old, "spec", errors)


def validate_capacity(obj: Object, errors: Errors) -> None:
    """A class, and amounts that are not negative."""
    if not obj.get("storageClassName"):
        errors.required("storageClassName")
    for name in ("capacity", "maximumVolumeSize"):
        amount = obj.get(name)
        if amount is not None and quantity.parse(amount) < 0:
            errors.invalid(name, quantity.canonical(amount), "must be greater than or equal to 0")
    if obj.get("nodeTopology"):
        selectors.validate(obj["nodeTopology"], "nodeTopology", errors)


def validate_capacity_update(new: Object, old: Object, errors: Errors) -> None:
    """What it is about stays."""
    for name in ("nodeTopology", "storageClassName"):
        metadata.immutable(new, old, name, errors)
