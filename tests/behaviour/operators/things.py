"""A kopf operator as its users write them: each Thing gets a ConfigMap and tells of it."""

from __future__ import annotations

from typing import Any

import kopf
from kubernetes import client, config

GROUP, VERSION, PLURAL = "example.com", "v1", "things"


@kopf.on.startup()
def configure(**_: Any) -> None:
    config.load_kube_config()


@kopf.on.create(GROUP, VERSION, PLURAL)
def create(name: str, namespace: str, spec: Any, body: Any, **_: Any) -> dict[str, Any]:
    made = {"metadata": {"name": f"{name}-made"}, "data": {"size": str(spec.get("size", 0))}}
    kopf.adopt(made)
    client.CoreV1Api().create_namespaced_config_map(namespace, made)
    kopf.info(body, reason="Made", message="a config map was made")
    return {"made": f"{name}-made"}


@kopf.on.update(GROUP, VERSION, PLURAL, field="spec.size")
def resize(name: str, namespace: str, new: Any, patch: kopf.Patch, **_: Any) -> None:
    change = {"data": {"size": str(new)}}
    client.CoreV1Api().patch_namespaced_config_map(f"{name}-made", namespace, change)
    patch.status["size"] = new


@kopf.on.delete(GROUP, VERSION, PLURAL)
def delete(name: str, namespace: str, **_: Any) -> None:
    client.CoreV1Api().create_namespaced_config_map(
        namespace, {"metadata": {"name": f"{name}-goodbye"}}
    )
