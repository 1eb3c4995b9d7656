"""The files of configMap, secret, downwardAPI and projected volumes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.kubelet import downward, tokens
from cluster.kubelet.environment import ConfigError, data_of
from cluster.kubelet.volumes.atomic_writer import File

Object = dict[str, Any]
Objects = Mapping[tuple[str, str], Object | None]

WRITTEN = ("configMap", "secret", "downwardAPI", "projected")


def kind_of(volume: Object) -> str:
    """The name of the volume's source field."""
    return next((key for key, value in volume.items() if key != "name" and value is not None), "")


def references(volume: Object) -> set[tuple[str, str]]:
    """(resource, name) of every ConfigMap, Secret and token that the volume is made of."""
    sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
    found = set()
    for source in sources:
        if source.get("configMap") is not None:
            found.add(("configmaps", source["configMap"].get("name", "")))
        if source.get("secret") is not None:
            found.add(("secrets", _secret_name(source["secret"])))
        if source.get("serviceAccountToken") is not None:
            found.add(tokens.reference(source["serviceAccountToken"]))
    return found


def _secret_name(secret: Object) -> str:
    return str(secret.get("secretName") or secret.get("name") or "")


def files(
    pod: Object, volume: Object, objects: Objects, allocatable: Mapping[str, str]
) -> dict[str, File]:
    """Relative path -> file. Raises ConfigError, naming what is missing."""
    kind = kind_of(volume)
    if kind != "projected":
        mode = volume[kind].get("defaultMode", 0o644)
        return _of_source(pod, volume, objects, allocatable, mode)
    found: dict[str, File] = {}
    mode = volume["projected"].get("defaultMode", 0o644)
    for source in volume["projected"].get("sources") or ():
        found |= _of_source(pod, source, objects, allocatable, mode)
    return found


def _of_source(
    pod: Object, source: Object, objects: Objects, allocatable: Mapping[str, str], mode: int
) -> dict[str, File]:
    if source.get("configMap") is not None:
        name = source["configMap"].get("name", "")
        return _of_object("configmaps", name, source["configMap"], objects, mode)
    if source.get("secret") is not None:
        return _of_object(
            "secrets", _secret_name(source["secret"]), source["secret"], objects, mode
        )
    if source.get("downwardAPI") is not None:
        return _of_downward(pod, source["downwardAPI"], allocatable, mode)
    if source.get("serviceAccountToken") is not None:
        return _of_token(source["serviceAccountToken"], objects, mode)
    raise ConfigError(f"volume source {kind_of(source)!r} is not supported by this kubelet yet")


def _of_object(
    resource: str, name: str, source: Object, objects: Objects, mode: int
) -> dict[str, File]:
    obj = objects.get((resource, name))
    if obj is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{resource[:-1]} "{name}" not found')
    data = data_of(resource, obj)
    if not source.get("items"):
        return {key: File(value, mode) for key, value in data.items()}
    found = {}
    for item in source["items"]:
        if item["key"] in data:
            found[item["path"]] = File(data[item["key"]], item.get("mode") or mode)
        elif not source.get("optional"):
            raise ConfigError(f"{resource[:-1]} references non-existent key: {item['key']}")
    return found


def _of_token(source: Object, objects: Objects, mode: int) -> dict[str, File]:
    answer = objects.get(tokens.reference(source))
    if answer is None:
        raise ConfigError("there is no token for the pod's service account")
    return {source["path"]: File(answer["status"]["token"].encode(), mode)}


def _of_downward(
    pod: Object, source: Object, allocatable: Mapping[str, str], mode: int
) -> dict[str, File]:
    found = {}
    for item in source.get("items") or ():
        if item.get("fieldRef"):
            text = downward.field(pod, item["fieldRef"]["fieldPath"])
        else:
            text = downward.resource(pod, item["resourceFieldRef"], allocatable)
        found[item["path"]] = File(text.encode(), item.get("mode") or mode)
    return found
