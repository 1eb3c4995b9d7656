"""From one CustomResourceDefinition to everything that serves its versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from actors.seams import Seams
from cluster.apiserver.context import Kept
from cluster.apiserver.definitions.forms import Converter, VersionForm
from cluster.apiserver.webhooks import WebhookClient
from cluster.machinery import jsonpath, resources, structural
from cluster.machinery.apply.custom import Custom
from cluster.machinery.customresources import columns, definition
from cluster.machinery.customresources.kind import CustomKind
from cluster.machinery.scale import WORKLOAD, ScalePaths
from cluster.machinery.structural.expressions import Rules
from cluster.storage import keys
from cluster.storage.cache import ResourceCache
from cluster.storage.definition_guard import DefinitionGuard
from cluster.storage.encoding import Object
from cluster.storage.feed import Feed, Stored
from cluster.storage.listing import Lister
from cluster.storage.registry import Environment, Registry
from cluster.storage.strategies.custom import CustomStrategy
from cluster.storage.version_feed import Fan, VersionFeed
from raftstore.types import Store

DEFINITIONS = resources.find(definition.KEY)


@dataclass(frozen=True)
class Parts:
    """What of the server is needed to serve one more resource; `cache`: that of definitions."""

    store: Store
    seams: Seams
    feed: Feed
    env: Environment
    webhooks: WebhookClient
    cache: ResourceCache


@dataclass(frozen=True)
class Version:
    """One version at work."""

    name: str
    kept: Kept
    feed: VersionFeed


@dataclass(frozen=True)
class Installed:
    """All versions at work, served or not: objects are deleted through the storage version."""

    crd: Object
    prefix: str
    versions: tuple[Version, ...]
    fan: Fan

    @property
    def served(self) -> list[Kept]:
        by_name = {version.name: version.kept for version in self.versions}
        return [by_name[v["name"]] for v in definition.served(self.crd)]

    @property
    def storage(self) -> Kept:
        name = definition.storage_version(self.crd)
        return next(v.kept for v in self.versions if v.name == name)


def fingerprint(crd: Object) -> object:
    """What must be the same for a definition to be served as it is."""
    names = (crd.get("status") or {}).get("acceptedNames")
    return crd["metadata"]["uid"], crd["spec"], names


def build(crd: Object, parts: Parts) -> Installed:
    """Nothing is read or written yet: `fan` has to be fed."""
    versions = crd["spec"]["versions"]
    group = crd["spec"]["group"]
    kinds = {
        f"{group}/{v['name']}": CustomKind(structural.parse(definition.schema_of(v) or OPEN))
        for v in versions
    }
    fields = Custom({f"{group}/{v['name']}": definition.schema_of(v) or OPEN for v in versions})
    webhook = (crd["spec"].get("conversion") or {}).get("webhook")
    converter = Converter(webhook, parts.webhooks, parts.seams)
    built = tuple(_version(crd, v, kinds, fields, converter, parts) for v in versions)
    prefix = keys.prefix(built[0].kept.resource)
    return Installed(crd, prefix, built, Fan([version.feed for version in built]))


OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""Of definitions from the time before schemas were required."""


def _version(
    crd: Object,
    version: Object,
    kinds: Mapping[str, CustomKind],
    fields: Custom,
    converter: Converter,
    parts: Parts,
) -> Version:
    resource = definition.resource(crd, version)
    kind = kinds[resource.api_version]
    storage = f"{resource.group}/{definition.storage_version(crd)}"
    form = VersionForm(resource.api_version, storage, kinds, converter)
    strategy = CustomStrategy(version, kind, Rules(kind.structural))
    cache = ResourceCache(resource, strategy.fields)
    prefix = keys.prefix(resource)

    async def read() -> tuple[list[Stored], int]:
        return await parts.feed.read(prefix)

    progress = VersionFeed(parts.feed, cache, form, parts.seams, read)
    key = keys.key(DEFINITIONS, "", crd["metadata"]["name"])
    guard = DefinitionGuard(parts.env.guard, parts.store, parts.cache, key)
    env = dataclasses.replace(parts.env, feed=progress, guard=guard)
    kept = Kept(
        resource,
        Registry(resource, strategy, cache, env, form),
        Lister(parts.store, progress, cache, form),
        progress,
        kind,
        columns.printer(version.get("additionalPrinterColumns") or ()),
        _scale(version),
        definition.deprecation(crd, version),
        definition.schema_of(version),
        fields,
        storage,
    )
    return Version(version["name"], kept, progress)


def _scale(version: Object) -> ScalePaths:
    found = definition.subresources(version).get("scale")
    if found is None:
        return WORKLOAD
    selector = found.get("labelSelectorPath")
    return ScalePaths(
        jsonpath.fields(found["specReplicasPath"]),
        jsonpath.fields(found["statusReplicasPath"]),
        jsonpath.fields(selector) if selector else (),
    )
