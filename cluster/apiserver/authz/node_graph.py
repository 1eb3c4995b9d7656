"""What the pods of each node refer to: a node may read that, and nothing else of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.apiserver.authz.follow import Follow
from cluster.storage.cache import ResourceCache
from cluster.storage.entry import Entry

Object = dict[str, Any]
Reference = tuple[str, str, str]
"""(plural, namespace, name)"""
ENDED = ("Succeeded", "Failed")


class NodeGraph:
    """Follows the cache of pods. `catch_up` before each use."""

    def __init__(self, pods: ResourceCache) -> None:
        self._pods: dict[str, tuple[str, frozenset[Reference]]] = {}
        self._nodes: dict[str, dict[Reference, int]] = {}
        self._follow = Follow(pods, self._put, self._drop, self._clear)

    def catch_up(self) -> None:
        self._follow.catch_up()

    def refers(self, node: str, reference: Reference) -> bool:
        """Whether a pod of the node does."""
        return reference in self._nodes.get(node, ())

    def references(self, node: str, plural: str) -> list[Reference]:
        """All of one kind that pods of the node have."""
        return [each for each in self._nodes.get(node, ()) if each[0] == plural]

    def _put(self, entry: Entry) -> None:
        self._drop(entry.key)
        pod = entry.decode()
        node = (pod.get("spec") or {}).get("nodeName")
        if not node or (pod.get("status") or {}).get("phase") in ENDED:
            return
        found = frozenset(references(pod))
        self._pods[entry.key] = node, found
        counts = self._nodes.setdefault(node, {})
        for reference in found:
            counts[reference] = counts.get(reference, 0) + 1

    def _drop(self, key: str) -> None:
        node, found = self._pods.pop(key, ("", frozenset()))
        counts = self._nodes.get(node, {})
        for reference in found:
            counts[reference] -= 1
            if not counts[reference]:
                del counts[reference]
        if node and not counts:
            self._nodes.pop(node, None)

    def _clear(self) -> None:
        self._pods.clear()
        self._nodes.clear()


def references(pod: Object) -> Iterator[Reference]:
    """Secrets, config maps, claims and the service account that a pod names."""
    metadata, spec = pod["metadata"], pod["spec"]
    namespace = metadata["namespace"]
    yield "pods", namespace, metadata["name"]
    if spec.get("serviceAccountName"):
        yield "serviceaccounts", namespace, spec["serviceAccountName"]
    for secret in spec.get("imagePullSecrets") or ():
        yield "secrets", namespace, secret.get("name", "")
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            for plural, name in _of_environment(container):
                yield plural, namespace, name
    for volume in spec.get("volumes") or ():
        for plural, name in _of_volume(metadata["name"], volume):
            yield plural, namespace, name
    for name in _resource_claims(pod):
        yield "resourceclaims", namespace, name


def _of_environment(container: Object) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        for field, plural in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if source.get(field):
                yield plural, source[field].get("name", "")
    for entry in container.get("env") or ():
        source = entry.get("valueFrom") or {}
        for field, plural in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
            if source.get(field):
                yield plural, source[field].get("name", "")


def _of_volume(pod: str, volume: Object) -> Iterator[tuple[str, str]]:
    for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
        if source.get("configMap"):
            yield "configmaps", source["configMap"].get("name", "")
        if source.get("secret"):
            yield "secrets", source["secret"].get("secretName") or source["secret"].get("name", "")
    if volume.get("persistentVolumeClaim"):
        yield "persistentvolumeclaims", volume["persistentVolumeClaim"].get("claimName", "")
    if volume.get("ephemeral"):
        yield "persistentvolumeclaims", f"{pod}-{volume['name']}"
    for _, name in secret_refs(volume):
        yield "secrets", name


def secret_refs(source: Object) -> Iterator[tuple[str, str]]:
    """(namespace or "", name) of the secrets that volume plugins are told of."""
    for plugin in source.values():
        for field, value in plugin.items() if isinstance(plugin, dict) else ():
            if field.lower().endswith("secretref") and isinstance(value, dict):
                yield value.get("namespace", ""), value.get("name", "")
            elif field == "secretName" and "shareName" in plugin:  # azureFile
                yield plugin.get("secretNamespace") or "", value


def _resource_claims(pod: Object) -> Iterator[str]:
    for claim in pod["spec"].get("resourceClaims") or ():
        if claim.get("resourceClaimName"):
            yield claim["resourceClaimName"]
    for made in (pod.get("status") or {}).get("resourceClaimStatuses") or ():
        if made.get("resourceClaimName"):
            yield made["resourceClaimName"]
