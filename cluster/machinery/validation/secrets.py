"""Secrets, whose type says which keys they must have."""

from __future__ import annotations

import base64

import orjson

from cluster.machinery.validation import configmaps, formats, metadata
from cluster.machinery.validation.field import Errors, Object

_ACCOUNT = "kubernetes.io/service-account.name"
_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def validate(obj: Object, errors: Errors) -> None:
    """Keys, size, and what the type asks for."""
    data = obj.get("data") or {}
    for key in data:
        errors.all_invalid(f"data[{key}]", key, formats.config_key(key))
    if sum(len(value or "") * 3 // 4 for value in data.values()) > configmaps.MAX_BYTES:
        errors.too_long("data", configmaps.MAX_BYTES)
    _by_type(obj, data, errors)


def _by_type(obj: Object, data: Object, errors: Errors) -> None:
    type_ = obj.get("type") or ""
    if type_ == "kubernetes.io/service-account-token":
        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        if not annotations.get(_ACCOUNT):
            errors.required(f"metadata.annotations[{_ACCOUNT}]")
    elif type_ == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        errors.required("data[username]")
        errors.required("data[password]")
    for key in _NEEDED.get(type_, ()):
        if key not in data:
            errors.required(f"data[{key}]")
        elif key.startswith(".docker") and not _is_json(data[key]):
            errors.invalid(f"data[{key}]", "<secret contents redacted>", "invalid JSON")


def _is_json(encoded: str) -> bool:
    try:
        orjson.loads(base64.b64decode(encoded))
    except ValueError:
        return False
    return True


def validate_update(new: Object, old: Object, errors: Errors) -> None:
    """The type never changes; an immutable one keeps its data."""
    metadata.immutable(new, old, "type", errors)
    configmaps.frozen(new, old, ("data",), errors)
