"""What other API servers need to know to believe this one: a ConfigMap that all may read from.

`kube-system/extension-apiserver-authentication`, as upstream's clusterauthenticationtrust keeps
it: the authority of clients' certificates, that of front proxies, and the headers that these use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.apiserver.context import Kept
from cluster.machinery.status import ApiError
from cluster.storage.encoding import Object

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
LISTS = {
    "requestheader-username-headers": ("username_headers", ["X-Remote-User"]),
    "requestheader-uid-headers": ("uid_headers", ["X-Remote-Uid"]),
    "requestheader-group-headers": ("group_headers", ["X-Remote-Group"]),
    "requestheader-extra-headers-prefix": ("extra_header_prefixes", ["X-Remote-Extra-"]),
    "requestheader-allowed-names": ("allowed_names", []),
}
"""Key in the ConfigMap -> key in the server's config, and what holds without it."""


def data(config: Mapping[str, Any]) -> dict[str, str]:
    """From a server's config. Raises OSError."""
    found = {"client-ca-file": Path(config["tls"]["ca"]).read_text()}
    front = config.get("request_header")
    if front:
        found["requestheader-client-ca-file"] = Path(front["ca"]).read_text()
        found |= {key: _list(front.get(own) or usual) for key, (own, usual) in LISTS.items()}
    return found


def _list(names: Sequence[str]) -> str:
    return json.dumps(list(names), separators=(",", ":"))


async def ensure(kept: Kept, config: Mapping[str, Any]) -> None:
    """`kept`: ConfigMaps. Several servers may do this at once; all write the same."""
    wanted = data(config)
    entry = kept.registry.cache.get(kept.registry.key(NAMESPACE, NAME))
    if entry is None:
        await _create(kept, wanted)
    elif entry.decode().get("data") != wanted:
        await kept.registry.update(NAMESPACE, NAME, lambda old: _changed(old, wanted))


async def _changed(old: Object, wanted: dict[str, str]) -> Object:
    return {**old, "data": wanted}


async def _create(kept: Kept, wanted: dict[str, str]) -> None:
    metadata = {"name": NAME, "namespace": NAMESPACE}
    obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": wanted}
    try:
        await kept.registry.create(obj)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
