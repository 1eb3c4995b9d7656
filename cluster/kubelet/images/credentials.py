"""Names and passwords for registries, from Secrets of pods. Pure."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Iterable
from typing import Any

from cluster.kubelet.images.names import DEFAULT_REGISTRY, Reference
from cluster.kubelet.runtimes.images import Credentials

Object = dict[str, Any]

_KEYS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
_DOCKER_HUB = ("index.docker.io", "docker.io", "registry-1.docker.io")


def of_secrets(secrets: Iterable[Object], name: Reference) -> list[Credentials]:
    """Those that fit the image, the most exact first. A malformed Secret counts as empty."""
    found = [
        (where, entry)
        for secret in secrets
        for where, entry in _entries(secret).items()
        if _fits(where, name)
    ]
    found.sort(key=lambda each: len(each[0]), reverse=True)
    return [credentials for _, entry in found if (credentials := _credentials(entry)) is not None]


def _entries(secret: Object) -> dict[str, Object]:
    kind = secret.get("type", "")
    try:
        data = json.loads(base64.b64decode((secret.get("data") or {})[_KEYS[kind]]))
        auths = data["auths"] if kind.endswith("json") else data
        return {str(where): entry for where, entry in auths.items() if isinstance(entry, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, binascii.Error):
        return {}


def _fits(where: str, name: Reference) -> bool:
    """A host, maybe with `*` in its labels, a port and a start of the path (upstream's keyring)."""
    where = where.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, path = where.partition("/")
    if path in ("v1", "v2"):
        path = ""
    if not _fits_host(host, name.registry):
        return False
    return not path or (name.repository + "/").startswith(path + "/")


def _fits_host(pattern: str, registry: str) -> bool:
    if registry == DEFAULT_REGISTRY:
        return pattern in _DOCKER_HUB
    pattern_host, _, pattern_port = pattern.partition(":")
    host, _, port = registry.partition(":")
    parts, wanted = pattern_host.split("."), host.split(".")
    same = len(parts) == len(wanted) and pattern_port == port
    return same and all(map(fnmatch.fnmatchcase, wanted, parts))


def _credentials(entry: Object) -> Credentials | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth := entry.get("auth"):
        try:
            text = base64.b64decode(str(auth)).decode()
        except (ValueError, binascii.Error):
            return None
        username, _, password = text.strip("\0\n").partition(":")
    token, registry = str(entry.get("identitytoken") or ""), str(entry.get("registrytoken") or "")
    if not (username or token or registry):
        return None
    return Credentials(username, password, token, registry)
