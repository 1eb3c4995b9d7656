"""The one table that decides what is served, and by which strategy."""

from __future__ import annotations

import dataclasses

from cluster.machinery import resources
from cluster.machinery.resources import Resource
from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy
from cluster.storage.strategies.namespaces import NamespaceStrategy
from cluster.storage.strategies.pods import PodStrategy
from cluster.storage.strategies.services import ServiceStrategy


class NodeStrategy(Strategy):
    """A node registers itself with its status, so creation keeps it."""

    selectable = ("spec.unschedulable",)
    has_status = True

    def prepare_create(self, obj: Object) -> None:
        """Nothing to take away."""


class EventStrategy(Strategy):
    selectable = (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    )
    expires = True

    def fields(self, obj: Object) -> dict[str, str]:
        """`source` is the component, wherever the event says it."""
        found = super().fields(obj)
        source = (obj.get("source") or {}).get("component")
        return found | {"source": source or obj.get("reportingComponent") or ""}


class CreatableByUpdate(Strategy):
    creates_on_update = True


class SecretStrategy(Strategy):
    selectable = ("type",)


class ServiceAccountStrategy(Strategy):
    returns_deleted = True


class DeploymentStrategy(Strategy):
    has_status = True
    counts_generation = True

    def observed(self, obj: Object) -> object:
        """Upstream counts changes of annotations too (deployment strategy)."""
        return obj.get("spec"), obj["metadata"].get("annotations") or {}


class ReplicaSetStrategy(Strategy):
    selectable = ("status.replicas",)
    has_status = True
    counts_generation = True


class EndpointSliceStrategy(Strategy):
    counts_generation = True

    def observed(self, obj: Object) -> object:
        return {k: v for k, v in obj.items() if k not in ("metadata", "kind", "apiVersion")}


SERVED: dict[str, Strategy] = {
    "v1/namespaces": NamespaceStrategy(),
    "v1/pods": PodStrategy(),
    "v1/nodes": NodeStrategy(),
    "v1/services": ServiceStrategy(),
    "v1/endpoints": CreatableByUpdate(),
    "v1/configmaps": Strategy(),
    "v1/secrets": SecretStrategy(),
    "v1/serviceaccounts": ServiceAccountStrategy(),
    "v1/events": EventStrategy(),
    "apps/v1/deployments": DeploymentStrategy(),
    "apps/v1/replicasets": ReplicaSetStrategy(),
    "apps/v1/controllerrevisions": Strategy(),
    "discovery.k8s.io/v1/endpointslices": EndpointSliceStrategy(),
    "coordination.k8s.io/v1/leases": CreatableByUpdate(),
}

SUBRESOURCES: dict[str, frozenset[str]] = {
    "v1/namespaces": frozenset({"status", "finalize"}),
    "v1/pods": frozenset({"status", "log", "binding", "eviction"}),
    "v1/nodes": frozenset({"status"}),
    "v1/services": frozenset({"status"}),
    "apps/v1/deployments": frozenset({"status", "scale"}),
    "apps/v1/replicasets": frozenset({"status", "scale"}),
}


def served() -> tuple[Resource, ...]:
    """The resources that are kept, in the order of the table, with what is served of each."""
    return tuple(_trimmed(name) for name in SERVED)


def _trimmed(name: str) -> Resource:
    resource = resources.find(name)
    wanted = SUBRESOURCES.get(name, frozenset())
    kept = tuple(s for s in resource.subresources if s.name in wanted)
    return dataclasses.replace(resource, subresources=kept)


def strategy(resource: Resource) -> Strategy:
    """Of a served resource; KeyError for others."""
    return SERVED[f"{resource.api_version}/{resource.plural}"]
