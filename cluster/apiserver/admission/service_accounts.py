"""ServiceAccount: a pod runs as some account of its namespace and is given its token.

The token arrives in a projected volume, beside the CA of the API server and the namespace, where
in-cluster clients look for the three.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cluster.apiserver.admission.chain import Plugin, Review
from cluster.machinery import status

Object = dict[str, Any]
FindServiceAccount = Callable[[str, str], Awaitable[Object | None]]

DEFAULT = "default"
MIRROR = "kubernetes.io/config.mirror"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
EXPIRATION_S = 3607
"""Upstream's odd hour: it tells these tokens from those that somebody asked for."""
ROOT_CA = "kube-root-ca.crt"


def plugin(find: FindServiceAccount, suffix: Callable[[], str]) -> Plugin:
    """`suffix` makes the volume's name a new one."""

    async def admit(review: Review) -> None:
        pod = review.new
        new = review.operation == "create" and not review.subresource
        if not new or pod is None or review.resource.plural != "pods":
            return
        if MIRROR in (pod["metadata"].get("annotations") or {}):
            return
        spec = pod.setdefault("spec", {})
        name = spec.get("serviceAccountName") or DEFAULT
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await find(review.namespace, name)
        if account is None and name != DEFAULT:  # that one is about to be made
            text = (
                f"error looking up service account {review.namespace}/{name}: "
                f'serviceaccount "{name}" not found'
            )
            raise status.forbidden(review.resource, review.name, text)
        if account and not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = account["imagePullSecrets"]
        if _automounts(spec, account or {}):
            _mount(spec, VOLUME_PREFIX + suffix())

    return admit


def _automounts(spec: Object, account: Object) -> bool:
    """The pod's own wish, else its account's, else yes."""
    for said in (spec, account):
        if said.get("automountServiceAccountToken") is not None:
            return bool(said["automountServiceAccountToken"])
    return True


def _mount(spec: Object, volume: str) -> None:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    mounted = False
    for container in containers:
        mounts = container.get("volumeMounts") or []
        if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            continue
        own = {"name": volume, "readOnly": True, "mountPath": MOUNT_PATH}
        container["volumeMounts"] = [*mounts, own]
        mounted = True
    if mounted:
        spec["volumes"] = [*(spec.get("volumes") or ()), _volume(volume)]


def _volume(name: str) -> Object:
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": EXPIRATION_S, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]
    return {"name": name, "projected": {"defaultMode": 0o644, "sources": sources}}
