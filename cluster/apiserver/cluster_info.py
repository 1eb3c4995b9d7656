"""`kube-public/cluster-info`: where the cluster is and whom to believe, for whoever joins it.

A kubeconfig without a user, which everybody may read, as kubeadm makes it; the bootstrap signer
adds the signatures of tokens.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cluster.apiserver.context import Kept
from cluster.machinery.status import ApiError

NAMESPACE, NAME, KEY = "kube-public", "cluster-info", "kubeconfig"


async def ensure(kept: Kept, config: Mapping[str, Any]) -> None:
    """`kept`: ConfigMaps. Config: cluster_info, the URL for strangers; nothing without it."""
    url = config.get("cluster_info")
    if not url:
        return
    wanted = kubeconfig(str(url), Path(config["tls"]["ca"]).read_bytes())
    try:
        await kept.registry.create({
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": {KEY: wanted},
        })  # fmt: skip
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        await kept.registry.update(NAMESPACE, NAME, lambda old: _changed(old, wanted))


async def _changed(old: dict[str, Any], wanted: str) -> dict[str, Any]:
    return {**old, "data": {**(old.get("data") or {}), KEY: wanted}}


def kubeconfig(url: str, ca: bytes) -> str:
    cluster = {"certificate-authority-data": base64.b64encode(ca).decode(), "server": url}
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "clusters": [{"cluster": cluster, "name": ""}],
        "contexts": None,
        "current-context": "",
        "kind": "Config",
        "preferences": {},
        "users": None,
    }
    return yaml.safe_dump(document, sort_keys=False)
