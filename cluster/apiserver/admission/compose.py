"""The whole chain of a server, in upstream's order (AllOrderedPlugins)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.apiserver.admission import certificates
from cluster.apiserver.admission.chain import Chain, Plugin
from cluster.apiserver.admission.webhooks import MutatingWebhooks, Parts, ValidatingWebhooks
from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.security import Security
from cluster.apiserver.webhooks import WebhookClient
from cluster.machinery import kinds
from cluster.machinery.kinds import Kind
from cluster.machinery.resources import Resource
from cluster.storage.cache import ResourceCache

Object = dict[str, Any]
REGISTRATION = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class World:
    """What plugins may use of the server."""

    seams: Seams
    catalogue: Catalogue
    security: Security
    webhooks: WebhookClient

    def cache(self, key: str) -> ResourceCache:
        """The watch cache of a built-in resource."""
        return self.catalogue.kept[key].registry.cache

    async def find_namespace(self, name: str) -> Object | None:
        return await self.security.lookup.find("v1/namespaces", "", name)

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
    mutating: list[Plugin] = [
        *usual,
        MutatingWebhooks(world.cache(f"{REGISTRATION}/mutatingwebhookconfigurations"), parts),
    ]
    validating: list[Plugin] = [
        certificates.plugin(world.security.authorizer),
        world.security.escalation,
        ValidatingWebhooks(world.cache(f"{REGISTRATION}/validatingwebhookconfigurations"), parts),
    ]
    return Chain(mutating, validating)
