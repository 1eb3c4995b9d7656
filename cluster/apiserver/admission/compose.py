"""The whole chain of a server, in upstream's order (AllOrderedPlugins)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.apiserver.admission import (
    certificates,
    classes,
    registrations,
    signing_requests,
    storage_protection,
)
from cluster.apiserver.admission.chain import Chain, Plugin
from cluster.apiserver.admission.limit_ranger import LimitRanger
from cluster.apiserver.admission.mutating_policies import MutatingPolicies
from cluster.apiserver.admission.pod_security import PodSecurity
from cluster.apiserver.admission.policies import Parameters
from cluster.apiserver.admission.validating_policies import ValidatingPolicies
from cluster.apiserver.admission.webhooks import MutatingWebhooks, Parts, ValidatingWebhooks
from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.security import Security
from cluster.apiserver.webhooks import WebhookClient
from cluster.machinery import kinds
from cluster.machinery.apply import BUILTIN, Versions
from cluster.machinery.kinds import Kind
from cluster.machinery.resources import Resource
from cluster.storage import keys
from cluster.storage.cache import ResourceCache
from cluster.storage.strategies import table

Object = dict[str, Any]
REGISTRATION = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class World:
    """What plugins may use of the server."""

    seams: Seams
    catalogue: Catalogue
    security: Security
    webhooks: WebhookClient
    config: Mapping[str, Any]

    def cache(self, key: str) -> ResourceCache:
        """The watch cache of a built-in resource."""
        return self.catalogue.kept[key].registry.cache

    def list(self, key: str, namespace: str = "") -> Sequence[Object]:
        """All objects of a built-in resource, or those of a namespace, as the cache knows them."""
        cache = self.cache(key)
        if not len(cache):
            return ()
        prefix = keys.prefix(cache.resource, namespace)
        return [entry.decode() for entry in cache.entries(prefix)]

    def finder(self, key: str) -> Callable[[str], Awaitable[Object | None]]:
        """Finds an object without a namespace by its name."""
        return lambda name: self.security.lookup.find(key, "", name)

    async def find_namespace(self, name: str) -> Object | None:
        return await self.security.lookup.find("v1/namespaces", "", name)

    async def find_labels(self, namespace: str) -> Mapping[str, str]:
        """Of a namespace; none if it does not exist."""
        cache = self.cache("v1/namespaces")
        entry = cache.get(keys.key(cache.resource, "", namespace))
        if entry is not None:
            return entry.labels
        found = await self.find_namespace(namespace)
        return ((found or {}).get("metadata") or {}).get("labels") or {}

    def served(self, resource: Resource) -> tuple[Kind | None, Versions]:
        """How objects of a resource are checked, and merged."""
        kept = self.catalogue.kept.get(f"{resource.api_version}/{resource.plural}")
        return self.find_form(resource), BUILTIN if kept is None else kept.versions

    def find_form(self, resource: Resource) -> Kind | None:
        """How bodies of a resource are checked; None for one that is gone."""
        kept = self.catalogue.kept.get(f"{resource.api_version}/{resource.plural}")
        form = None if kept is None else kept.form
        return form or kinds.built_in(resource.api_version, resource.kind)


def chain(world: World, usual: Sequence[Plugin]) -> Chain:
    """`usual`: the plugins that need little of the server; they come first."""
    parts = Parts(
        world.seams,
        world.webhooks,
        world.security.authorizer,
        world.find_namespace,
        world.find_form,
    )
    limits = LimitRanger(lambda namespace: world.list("v1/limitranges", namespace))
    mutating: list[Plugin] = [
        limits.default,
        *usual,
        classes.default_storage_class(lambda: world.list("storage.k8s.io/v1/storageclasses")),
        storage_protection.protect,
        classes.runtime_class(world.finder("node.k8s.io/v1/runtimeclasses")),
        signing_requests.requester,
        classes.default_ingress_class(lambda: world.list("networking.k8s.io/v1/ingressclasses")),
        *_mutating_policies(world),
        MutatingWebhooks(world.cache(f"{REGISTRATION}/mutatingwebhookconfigurations"), parts),
    ]
    validating: list[Plugin] = [
        limits.check,
        PodSecurity(
            world.find_labels,
            lambda namespace: world.list("v1/pods", namespace),
            world.config.get("pod_security") or {},
        ),
        classes.claim_resize(world.finder("storage.k8s.io/v1/storageclasses")),
        certificates.plugin(world.security.authorizer),
        world.security.escalation,
        registrations.check,
        ValidatingPolicies(
            (
                world.cache(f"{REGISTRATION}/validatingadmissionpolicies"),
                world.cache(f"{REGISTRATION}/validatingadmissionpolicybindings"),
            ),
            world.security.authorizer,
            world.find_namespace,
            Parameters(world.catalogue),
        ),
        ValidatingWebhooks(world.cache(f"{REGISTRATION}/validatingwebhookconfigurations"), parts),
    ]
    return Chain(mutating, validating)


def _mutating_policies(world: World) -> list[Plugin]:
    """Where the server has been told to serve them."""
    names = ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
    keys_ = [f"{table.MUTATING_POLICIES}/{name}" for name in names]
    if not all(key in world.catalogue.kept for key in keys_):
        return []
    return [
        MutatingPolicies(
            (world.cache(keys_[0]), world.cache(keys_[1])),
            world.security.authorizer,
            world.find_namespace,
            Parameters(world.catalogue),
            world.served,
        )
    ]
