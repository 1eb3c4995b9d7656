"""The whole chain of a server, in upstream's order (AllOrderedPlugins)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.apiserver.admission import (
    certificates,
    classes,
    device_admins,
    optional_plugins,
    owner_references,
    registrations,
    signing_requests,
    storage_protection,
)
from cluster.apiserver.admission.chain import Chain, Plugin
from cluster.apiserver.admission.event_limits import EventLimits
from cluster.apiserver.admission.image_policy import ImagePolicy
from cluster.apiserver.admission.limit_ranger import LimitRanger
from cluster.apiserver.admission.mutating_policies import MutatingPolicies
from cluster.apiserver.admission.namespace_tolerations import NamespaceTolerations
from cluster.apiserver.admission.namespaces import Namespaces
from cluster.apiserver.admission.node_selectors import NodeSelectors
from cluster.apiserver.admission.pod_security import PodSecurity
from cluster.apiserver.admission.policies import Parameters
from cluster.apiserver.admission.selection import Selection
from cluster.apiserver.admission.validating_policies import ValidatingPolicies
from cluster.apiserver.admission.versions import Versions
from cluster.apiserver.admission.webhooks import MutatingWebhooks, Parts, ValidatingWebhooks
from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.security import Security
from cluster.apiserver.webhook_identities import WebhookIdentities
from cluster.apiserver.webhooks import WebhookClient
from cluster.machinery import apply, kinds
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
    webhooks: Callable[[WebhookIdentities], WebhookClient]
    """A client for webhooks, which closes with the server."""

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

    @property
    def versions(self) -> Versions:
        """In which versions writes can be shown."""
        return Versions(self.catalogue, self.find_namespace)

    def served(self, resource: Resource) -> tuple[Kind | None, apply.Versions]:
        """How objects of a resource are checked, and merged."""
        kept = self.catalogue.kept.get(f"{resource.api_version}/{resource.plural}")
        return self.find_form(resource), apply.BUILTIN if kept is None else kept.versions

    def find_kind(self, api_version: str, kind: str) -> Resource | None:
        """What is served under a kind."""
        found = (r for r in self.catalogue.resources if r.api_version == api_version)
        return next((r for r in found if r.kind == kind), None)

    def find_form(self, resource: Resource) -> Kind | None:
        """How bodies of a resource are checked; None for one that is gone."""
        kept = self.catalogue.kept.get(f"{resource.api_version}/{resource.plural}")
        form = None if kept is None else kept.form
        return form or kinds.built_in(resource.api_version, resource.kind)


Named = tuple[str, Plugin]
"""Plugins without a name are rules of their resources: they cannot be turned off."""


def chain(world: World, usual: Mapping[str, Plugin], selection: Selection) -> Chain:
    """`usual`: the plugins that need little of the server; `selection`: which of all run."""
    limits = LimitRanger(lambda namespace: world.list("v1/limitranges", namespace))
    selectors = NodeSelectors(world.find_namespace, selection.of("PodNodeSelector"))
    tolerations = NamespaceTolerations(
        world.find_namespace, selection.of("PodTolerationRestriction")
    )
    namespaces = Namespaces(
        world.find_namespace, world.catalogue.kept["v1/namespaces"].registry.create
    )
    mutating: list[Named] = [
        ("NamespaceAutoProvision", namespaces.provide),
        ("LimitRanger", limits.default),
        *usual.items(),
        ("AlwaysPullImages", optional_plugins.always_pull_images),
        ("PodNodeSelector", selectors.set),
        ("PodTolerationRestriction", tolerations.add),
        ("ExtendedResourceToleration", optional_plugins.extended_resource_toleration),
        *_classes(world),
        ("", signing_requests.requester),
        *_mutating_policies(world),
        (
            "MutatingAdmissionWebhook",
            MutatingWebhooks(
                world.cache(f"{REGISTRATION}/mutatingwebhookconfigurations"),
                _parts(world, selection, "MutatingAdmissionWebhook"),
            ),
        ),
    ]
    validating: list[Named] = [
        ("NamespaceExists", namespaces.require),
        ("LimitRanger", limits.check),
        ("PodSecurity", _pod_security(world, selection)),
        ("PodNodeSelector", selectors.check),
        ("PodTolerationRestriction", tolerations.check),
        *_configured(world, selection),
        *_validating(world),
        (
            "ValidatingAdmissionWebhook",
            ValidatingWebhooks(
                world.cache(f"{REGISTRATION}/validatingwebhookconfigurations"),
                _parts(world, selection, "ValidatingAdmissionWebhook"),
            ),
        ),
    ]
    return Chain(_chosen(mutating, selection), _chosen(validating, selection))


def _chosen(named: Sequence[Named], selection: Selection) -> list[Plugin]:
    return [plugin for name, plugin in named if not name or name in selection.names]


def _parts(world: World, selection: Selection, plugin: str) -> Parts:
    """Each of the two may be somebody else to its webhooks."""
    identities = WebhookIdentities(selection.of(plugin))
    return Parts(
        world.seams,
        world.webhooks(identities),
        world.security.authorizer,
        world.versions,
        world.find_form,
    )


def _configured(world: World, selection: Selection) -> list[Named]:
    """Those that cannot be without a configuration. Raises ValueError for one that is wrong."""
    found: list[Named] = []
    if (name := "EventRateLimit") in selection.names:
        found.append((name, EventLimits(world.seams.clock, selection.of(name))))
    if (name := "ImagePolicyWebhook") in selection.names:
        found.append((name, ImagePolicy(world.seams, selection.of(name))))
    return found


def _classes(world: World) -> list[Named]:
    storage = "storage.k8s.io/v1/storageclasses"
    ingress = "networking.k8s.io/v1/ingressclasses"
    runtime = world.finder("node.k8s.io/v1/runtimeclasses")
    return [
        ("DefaultStorageClass", classes.default_storage_class(lambda: world.list(storage))),
        ("StorageObjectInUseProtection", storage_protection.protect),
        ("RuntimeClass", classes.runtime_class(runtime)),
        ("DefaultIngressClass", classes.default_ingress_class(lambda: world.list(ingress))),
    ]


def _pod_security(world: World, selection: Selection) -> Plugin:
    return PodSecurity(
        world.find_labels,
        lambda namespace: world.list("v1/pods", namespace),
        selection.of("PodSecurity"),
    )


def _validating(world: World) -> list[Named]:
    """Those that look at what will be stored, but for webhooks."""
    authorizer = world.security.authorizer
    policies_ = ValidatingPolicies(
        (
            world.cache(f"{REGISTRATION}/validatingadmissionpolicies"),
            world.cache(f"{REGISTRATION}/validatingadmissionpolicybindings"),
        ),
        authorizer,
        world.versions,
        Parameters(world.catalogue),
    )
    owners = owner_references.plugin(authorizer, world.find_kind)
    storage = world.finder("storage.k8s.io/v1/storageclasses")
    return [
        ("LimitPodHardAntiAffinityTopology", optional_plugins.limit_hard_anti_affinity),
        ("OwnerReferencesPermissionEnforcement", owners),
        ("PersistentVolumeClaimResize", classes.claim_resize(storage)),
        ("CertificateApproval", certificates.approval(authorizer)),
        ("CertificateSigning", certificates.signing(authorizer)),
        ("CertificateSubjectRestriction", certificates.subject_restriction),
        ("DenyServiceExternalIPs", optional_plugins.deny_external_ips),
        ("", world.security.escalation),
        ("", registrations.check),
        ("", device_admins.check(world.find_labels)),
        ("ValidatingAdmissionPolicy", policies_),
    ]


def _mutating_policies(world: World) -> list[Named]:
    """Where the server has been told to serve them."""
    names = ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
    keys_ = [f"{table.MUTATING_POLICIES}/{name}" for name in names]
    if not all(key in world.catalogue.kept for key in keys_):
        return []
    plugin = MutatingPolicies(
        (world.cache(keys_[0]), world.cache(keys_[1])),
        world.security.authorizer,
        world.versions,
        Parameters(world.catalogue),
        world.served,
    )
    return [("MutatingAdmissionPolicy", plugin)]
