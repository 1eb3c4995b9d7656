"""The one table that decides what is served, and by which strategy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from cluster.machinery import resources
from cluster.machinery.customresources import definition
from cluster.machinery.resources import Resource
from cluster.storage.encoding import Object
from cluster.storage.strategies.apiservices import ApiServiceStrategy
from cluster.storage.strategies.base import Strategy
from cluster.storage.strategies.certificates import SigningRequestStrategy
from cluster.storage.strategies.definitions import DefinitionStrategy
from cluster.storage.strategies.events import EventStrategy, NewEventStrategy
from cluster.storage.strategies.leases import LeaseStrategy
from cluster.storage.strategies.namespaces import NamespaceStrategy
from cluster.storage.strategies.pods import PodStrategy
from cluster.storage.strategies.services import ServiceStrategy
from cluster.storage.strategies.volumes import VolumeStrategy
from cluster.storage.strategies.workloads import (
    DeploymentStrategy,
    JobStrategy,
    PodTemplateStrategy,
    ReplicaStrategy,
    WorkloadStrategy,
)


class NodeStrategy(Strategy):
    """A node registers itself with its status, so creation keeps it."""

    selectable = ("spec.unschedulable",)
    has_status = True

    def prepare_create(self, obj: Object) -> None:
        obj.setdefault("status", self.empty_status(obj))


class CreatableByUpdate(Strategy):
    creates_on_update = True


class SecretStrategy(Strategy):
    selectable = ("type",)


class ReturnedWhenDeleted(Strategy):
    returns_deleted = True


class StatusOnly(Strategy):
    """A status of its own, no generation."""

    has_status = True


class QuotaStrategy(StatusOnly):
    returns_deleted = True


class AttachmentStrategy(StatusOnly):
    returns_deleted = True


class SpecOnly(Strategy):
    """Generation counts changes of spec; no status."""

    counts_generation = True


class DriverStrategy(SpecOnly):
    returns_deleted = True


class SliceOfDevices(SpecOnly):
    selectable = ("spec.nodeName", "spec.driver")


class WholeObject(Strategy):
    """Generation counts every change but those of metadata."""

    counts_generation = True

    def observed(self, obj: Object) -> object:
        return {k: v for k, v in obj.items() if k not in ("metadata", "kind", "apiVersion")}


class SpecAndStatus(Strategy):
    has_status = True
    counts_generation = True


class IngressStrategy(SpecAndStatus):
    def empty_status(self, obj: Object) -> Object:
        return {"loadBalancer": {}}


SERVED: dict[str, Strategy] = {
    "v1/namespaces": NamespaceStrategy(),
    "v1/pods": PodStrategy(),
    "v1/nodes": NodeStrategy(),
    "v1/services": ServiceStrategy(),
    "v1/endpoints": CreatableByUpdate(),
    "v1/configmaps": Strategy(),
    "v1/secrets": SecretStrategy(),
    "v1/serviceaccounts": ReturnedWhenDeleted(),
    "v1/events": EventStrategy(),
    "v1/replicationcontrollers": ReplicaStrategy(),
    "v1/podtemplates": PodTemplateStrategy(),
    "v1/limitranges": CreatableByUpdate(),
    "v1/resourcequotas": QuotaStrategy(),
    "v1/persistentvolumes": VolumeStrategy(),
    "v1/persistentvolumeclaims": VolumeStrategy(),
    "events.k8s.io/v1/events": NewEventStrategy(),
    "apps/v1/deployments": DeploymentStrategy(),
    "apps/v1/replicasets": ReplicaStrategy(),
    "apps/v1/statefulsets": WorkloadStrategy(),
    "apps/v1/daemonsets": WorkloadStrategy(),
    "apps/v1/controllerrevisions": Strategy(),
    "batch/v1/jobs": JobStrategy(),
    "batch/v1/cronjobs": WorkloadStrategy(),
    "autoscaling/v2/horizontalpodautoscalers": StatusOnly(),
    "autoscaling/v1/horizontalpodautoscalers": StatusOnly(),
    "policy/v1/poddisruptionbudgets": SpecAndStatus(),
    "discovery.k8s.io/v1/endpointslices": WholeObject(),
    "coordination.k8s.io/v1/leases": LeaseStrategy(),
    "networking.k8s.io/v1/ingresses": IngressStrategy(),
    "networking.k8s.io/v1/ingressclasses": SpecOnly(),
    "networking.k8s.io/v1/networkpolicies": SpecOnly(),
    "networking.k8s.io/v1/ipaddresses": SpecOnly(),
    "networking.k8s.io/v1/servicecidrs": SpecAndStatus(),
    "storage.k8s.io/v1/storageclasses": ReturnedWhenDeleted(),
    "storage.k8s.io/v1/csidrivers": DriverStrategy(),
    "storage.k8s.io/v1/csinodes": ReturnedWhenDeleted(),
    "storage.k8s.io/v1/csistoragecapacities": Strategy(),
    "storage.k8s.io/v1/volumeattachments": AttachmentStrategy(),
    "storage.k8s.io/v1/volumeattributesclasses": ReturnedWhenDeleted(),
    "scheduling.k8s.io/v1/priorityclasses": WholeObject(),
    "node.k8s.io/v1/runtimeclasses": Strategy(),
    "rbac.authorization.k8s.io/v1/roles": CreatableByUpdate(),
    "rbac.authorization.k8s.io/v1/rolebindings": CreatableByUpdate(),
    "rbac.authorization.k8s.io/v1/clusterroles": CreatableByUpdate(),
    "rbac.authorization.k8s.io/v1/clusterrolebindings": CreatableByUpdate(),
    "admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": WholeObject(),
    "admissionregistration.k8s.io/v1/validatingwebhookconfigurations": WholeObject(),
    "admissionregistration.k8s.io/v1/validatingadmissionpolicies": SpecAndStatus(),
    "admissionregistration.k8s.io/v1/validatingadmissionpolicybindings": SpecOnly(),
    "certificates.k8s.io/v1/certificatesigningrequests": SigningRequestStrategy(),
    "flowcontrol.apiserver.k8s.io/v1/flowschemas": SpecAndStatus(),
    "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations": SpecAndStatus(),
    "resource.k8s.io/v1/deviceclasses": SpecOnly(),
    "resource.k8s.io/v1/resourceclaims": StatusOnly(),
    "resource.k8s.io/v1/resourceclaimtemplates": Strategy(),
    "resource.k8s.io/v1/resourceslices": SliceOfDevices(),
    "apiregistration.k8s.io/v1/apiservices": ApiServiceStrategy(),
    definition.KEY: DefinitionStrategy(),
}

MUTATING_POLICIES = "admissionregistration.k8s.io/v1beta1"
OPTIONAL: dict[str, Strategy] = {
    f"{MUTATING_POLICIES}/mutatingadmissionpolicies": SpecOnly(),
    f"{MUTATING_POLICIES}/mutatingadmissionpolicybindings": SpecOnly(),
}
"""Beta versions: served if a server is told to, by the name of their version."""

WARNINGS = {
    "v1/endpoints": ("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
}
"""What whoever uses such a resource is told."""

SUBRESOURCES = frozenset(
    {"status", "scale", "finalize", "approval", "ephemeralcontainers", "resize", "binding",
     "eviction", "log", "token", "attach", "exec", "portforward", "proxy"}
)  # fmt: skip
"""Those that are served, of whatever resource has them."""
CONNECTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("attach", "exec", "portforward"), ("create", "get")),
    "proxy": ("create", "delete", "get", "patch", "update"),
}
"""What discovery says of those that the tables have as `connect`: each method has a verb."""


def served(versions: Sequence[str] = ()) -> tuple[Resource, ...]:
    """The resources that are kept, in the order of the table, with what is served of each.

    `versions`: what is to be served besides the stable ones, as in an apiVersion.
    """
    more = (name for name in OPTIONAL if name.rpartition("/")[0] in versions)
    return tuple(_trimmed(name) for name in (*SERVED, *more))


def _trimmed(name: str) -> Resource:
    resource = resources.find(name)
    kept = tuple(
        dataclasses.replace(s, verbs=CONNECTS.get(s.name, s.verbs))
        for s in resource.subresources
        if s.name in SUBRESOURCES
    )
    return dataclasses.replace(resource, subresources=kept)


def strategy(resource: Resource) -> Strategy:
    """Of a served resource; KeyError for others."""
    name = f"{resource.api_version}/{resource.plural}"
    return SERVED[name] if name in SERVED else OPTIONAL[name]
