"""The environment of a container: services, envFrom, env with $(VAR) expansion. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cluster.kubelet import downward

Object = dict[str, Any]

_REFERENCE = re.compile(r"\$(\$|\([^)]*\))")


class ConfigError(Exception):
    """A container's description refers to something that is not there."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` is replaced where NAME is known; `$$` stands for one `$`."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return values.get(match[1][1:-1], match[0])

    return _REFERENCE.sub(replace, text)


def data_of(kind: str, obj: Object) -> dict[str, bytes]:
    """The keys of a ConfigMap or Secret as bytes."""
    encoded = obj.get("data" if kind == "secrets" else "binaryData") or {}
    found = {key: base64.b64decode(value or "") for key, value in encoded.items()}
    if kind == "configmaps":
        found |= {key: (value or "").encode() for key, value in (obj.get("data") or {}).items()}
    return found


def references(container: Object) -> set[tuple[str, str]]:
    """(resource, name) of every ConfigMap and Secret that the environment may need."""
    found = set()
    for source in container.get("envFrom") or ():
        for field, resource in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if field in source:
                found.add((resource, source[field].get("name", "")))
    for entry in container.get("env") or ():
        for field, resource in _KEY_REFERENCES.items():
            if field in (entry.get("valueFrom") or {}):
                found.add((resource, entry["valueFrom"][field].get("name", "")))
    return found


_KEY_REFERENCES = {"configMapKeyRef": "configmaps", "secretKeyRef": "secrets"}
_KINDS = {"configmaps": "configmap", "secrets": "secret"}


def build(
    pod: Object,
    container: Object,
    *,
    objects: Mapping[tuple[str, str], Object | None],
    services: Iterable[Object] = (),
    allocatable: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """All variables. `objects`: what `references` asked for. Raises ConfigError."""
    linked = pod["spec"].get("enableServiceLinks", True) is not False
    values = service_variables(pod["metadata"].get("namespace", "default"), services, linked)
    for source in container.get("envFrom") or ():
        values |= _from_source(source, objects)
    for entry in container.get("env") or ():
        text = _value(pod, container, entry, values, objects, allocatable or {})
        if text is not None:
            values[entry["name"]] = text
    return values


def _from_source(
    source: Object, objects: Mapping[tuple[str, str], Object | None]
) -> dict[str, str]:
    field, resource = (
        ("configMapRef", "configmaps") if "configMapRef" in source else ("secretRef", "secrets")
    )
    reference = source[field]
    obj = objects.get((resource, reference.get("name", "")))
    if obj is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{_KINDS[resource]} "{reference.get("name", "")}" not found')
    prefix = source.get("prefix") or ""
    found = data_of(resource, obj).items()
    return {prefix + key: value.decode(errors="replace") for key, value in found}


def _value(
    pod: Object,
    container: Object,
    entry: Object,
    values: Mapping[str, str],
    objects: Mapping[tuple[str, str], Object | None],
    allocatable: Mapping[str, str],
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", values)
    if "fieldRef" in source:
        return downward.field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        reference = source["resourceFieldRef"]
        return downward.resource(pod, reference, allocatable, container["name"])
    field = next((name for name in _KEY_REFERENCES if name in source), "")
    if not field:
        raise ConfigError(f"environment variable {entry['name']}: unsupported valueFrom")
    return _from_key(_KEY_REFERENCES[field], source[field], objects, pod)


def _from_key(
    resource: str,
    reference: Object,
    objects: Mapping[tuple[str, str], Object | None],
    pod: Object,
) -> str | None:
    name, key = reference.get("name", ""), reference["key"]
    obj = objects.get((resource, name))
    data = data_of(resource, obj) if obj is not None else {}
    if key in data:
        return data[key].decode(errors="replace")
    if reference.get("optional"):
        return None
    if obj is None:
        raise ConfigError(f'{_KINDS[resource]} "{name}" not found')
    kind = "ConfigMap" if resource == "configmaps" else "Secret"
    where = f"{pod['metadata'].get('namespace', 'default')}/{name}"
    raise ConfigError(f"couldn't find key {key} in {kind} {where}")


def service_variables(namespace: str, services: Iterable[Object], linked: bool) -> dict[str, str]:
    """`NAME_SERVICE_HOST` and the like; only the API server's when links are switched off."""
    values: dict[str, str] = {}
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        is_api = (metadata["namespace"], metadata["name"]) == ("default", "kubernetes")
        wanted = is_api or (linked and metadata["namespace"] == namespace)
        if wanted and spec.get("clusterIP") not in (None, "", "None") and spec.get("ports"):
            values |= _variables_of(service)
    return values


def _variables_of(service: Object) -> dict[str, str]:
    name = service["metadata"]["name"].upper().replace("-", "_")
    host, ports = service["spec"]["clusterIP"], service["spec"]["ports"]
    first = f"{ports[0].get('protocol', 'TCP').lower()}://{host}:{ports[0]['port']}"
    values = {f"{name}_SERVICE_HOST": host, f"{name}_SERVICE_PORT": str(ports[0]["port"])}
    values[f"{name}_PORT"] = first
    for port in ports:
        protocol = port.get("protocol", "TCP")
        if port.get("name"):
            own = port["name"].upper().replace("-", "_")
            values[f"{name}_SERVICE_PORT_{own}"] = str(port["port"])
        base = f"{name}_PORT_{port['port']}_{protocol}"
        values[base] = f"{protocol.lower()}://{host}:{port['port']}"
        values |= {f"{base}_PROTO": protocol.lower(), f"{base}_PORT": str(port["port"])}
        values[f"{base}_ADDR"] = host
    return values
