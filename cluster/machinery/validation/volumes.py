"""Volumes of pods, and where containers mount them."""

from __future__ import annotations

from typing import Any

from cluster.machinery.validation import env, formats
from cluster.machinery.validation.field import Errors, Object

_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File",
                    "FileOrCreate", "Socket")  # fmt: skip
_MAX_MODE = 0o777


def validate(volumes: list[Object], path: str, errors: Errors) -> set[str]:
    """The volumes of a pod; returns their names."""
    names: set[str] = set()
    for at, volume in enumerate(volumes):
        own = f"{path}[{at}]"
        name = volume.get("name")
        if not name:
            errors.required(f"{own}.name")
        else:
            errors.all_invalid(f"{own}.name", name, formats.label(name))
            if name in names:
                errors.duplicate(f"{own}.name", name)
            names.add(name)
        _source(volume, own, errors)
    return names


def _source(volume: Object, path: str, errors: Errors) -> None:
    sources = [n for n, value in volume.items() if n != "name" and value is not None]
    if not sources:
        errors.required(path, "must specify a volume type")
    for extra in sources[1:]:
        errors.forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
    if sources and sources[0] in _SOURCES:
        _SOURCES[sources[0]](volume[sources[0]], f"{path}.{sources[0]}", errors)


def _mode(mode: int | None, path: str, errors: Errors) -> None:
    if mode is not None and not 0 <= mode <= _MAX_MODE:
        errors.invalid(path, mode, formats.MODE_WRONG)


def _items(items: list[Object] | None, path: str, errors: Errors) -> None:
    for at, item in enumerate(items or ()):
        own = f"{path}.items[{at}]"
        if not item.get("key"):
            errors.required(f"{own}.key")
        if not item.get("path"):
            errors.required(f"{own}.path")
        else:
            relative_path(item["path"], f"{own}.path", errors)
        _mode(item.get("mode"), f"{own}.mode", errors)


def relative_path(value: str, path: str, errors: Errors) -> None:
    """Inside the volume, whatever it says."""
    if value.startswith("/"):
        errors.invalid(path, value, "must be a relative path")
    elif ".." in value.split("/"):
        errors.invalid(path, value, "must not contain '..'")
    elif value.startswith(".."):
        errors.invalid(path, value, "must not start with '..'")


def _config_map(source: Object, path: str, errors: Errors) -> None:
    if not source.get("name"):
        errors.required(f"{path}.name")
    _mode(source.get("defaultMode"), f"{path}.defaultMode", errors)
    _items(source.get("items"), path, errors)


def _secret(source: Object, path: str, errors: Errors) -> None:
    if not source.get("secretName"):
        errors.required(f"{path}.secretName")
    _mode(source.get("defaultMode"), f"{path}.defaultMode", errors)
    _items(source.get("items"), path, errors)


def _host_path(source: Object, path: str, errors: Errors) -> None:
    found = source.get("path")
    if not found:
        errors.required(f"{path}.path")
    elif ".." in found.split("/"):
        errors.invalid(f"{path}.path", found, "must not contain '..'")
    if (source.get("type") or "") not in _HOST_PATH_TYPES:
        errors.not_supported(f"{path}.type", source["type"], _HOST_PATH_TYPES)


def _claim(source: Object, path: str, errors: Errors) -> None:
    if not source.get("claimName"):
        errors.required(f"{path}.claimName")


def _empty_dir(source: Object, path: str, errors: Errors) -> None:
    from cluster.machinery import quantity

    limit = source.get("sizeLimit")
    if limit is not None and quantity.parse(limit) < 0:
        errors.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _downward(source: Object, path: str, errors: Errors) -> None:
    _mode(source.get("defaultMode"), f"{path}.defaultMode", errors)
    for at, item in enumerate(source.get("items") or ()):
        own = f"{path}.items[{at}]"
        if not item.get("path"):
            errors.required(f"{own}.path")
        else:
            relative_path(item["path"], f"{own}.path", errors)
        if item.get("fieldRef"):
            env.field_reference(item["fieldRef"], f"{own}.fieldRef", env.VOLUME_FIELDS, errors)
        elif not item.get("resourceFieldRef"):
            errors.required(own, "one of fieldRef and resourceFieldRef is required")


def _projected(source: Object, path: str, errors: Errors) -> None:
    _mode(source.get("defaultMode"), f"{path}.defaultMode", errors)
    for at, entry in enumerate(source.get("sources") or ()):
        own = f"{path}.sources[{at}]"
        for name, value in entry.items():
            if value is not None and name in ("configMap", "secret") and not value.get("name"):
                errors.required(f"{own}.{name}.name")
        if entry.get("downwardAPI"):
            _downward(entry["downwardAPI"], f"{own}.downwardAPI", errors)


_SOURCES: dict[str, Any] = {
    "configMap": _config_map,
    "secret": _secret,
    "hostPath": _host_path,
    "persistentVolumeClaim": _claim,
    "emptyDir": _empty_dir,
    "downwardAPI": _downward,
    "projected": _projected,
}


def validate_mounts(mounts: list[Object], volumes: set[str], path: str, errors: Errors) -> None:
    """Each names a volume of the pod and has a place of its own."""
    places: set[str] = set()
    for at, mount in enumerate(mounts):
        own = f"{path}[{at}]"
        if not mount.get("name"):
            errors.required(f"{own}.name")
        elif mount["name"] not in volumes:
            errors.not_found(f"{own}.name", mount["name"])
        place = mount.get("mountPath")
        if not place:
            errors.required(f"{own}.mountPath")
        elif place in places:
            errors.invalid(f"{own}.mountPath", place, "must be unique")
        places.add(place or "")
        for name in ("subPath", "subPathExpr"):
            if mount.get(name):
                relative_path(mount[name], f"{own}.{name}", errors)
        if mount.get("subPath") and mount.get("subPathExpr"):
            errors.invalid(f"{own}.subPathExpr", mount["subPathExpr"],
                           "subPathExpr and subPath are mutually exclusive")  # fmt: skip
