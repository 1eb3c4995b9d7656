"""One write in the versions that its resource has: what is registered asks for one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.apiserver.catalogue import Catalogue
from cluster.machinery import conversion, resources
from cluster.machinery.resources import Resource
from cluster.storage import encoding

Object = dict[str, Any]
FindNamespace = Callable[[str], Awaitable[Object | None]]
CONVERTED = ("", "status")
"""The other subresources have objects of their own, alike in all versions."""


@dataclass(frozen=True)
class Shown:
    """A write as `form`, a version of its resource, has it."""

    form: Resource
    new: Object | None
    old: Object | None


class Versions:
    """Built-in kinds and custom resources alike. `find_namespace` is what selectors need."""

    def __init__(self, catalogue: Catalogue, find_namespace: FindNamespace) -> None:
        self._catalogue, self.find_namespace = catalogue, find_namespace
        self._generation, self._others = -1, dict[str, list[Resource]]()

    def equivalents(self, resource: Resource) -> Sequence[Resource]:
        """The other served versions of a resource."""
        if self._generation != self._catalogue.generation:
            self._others.clear()
            self._generation = self._catalogue.generation
        own = f"{resource.api_version}/{resource.plural}"
        if own not in self._others:
            self._others[own] = [*_built_in(own), *self._custom(resource)]
        return self._others[own]

    def _custom(self, resource: Resource) -> list[Resource]:
        return [
            kept.resource
            for kept in self._catalogue.kept.values()
            if kept.schema is not None
            and (kept.resource.group, kept.resource.plural) == (resource.group, resource.plural)
            and kept.resource.version != resource.version
        ]

    async def shown(self, review: Review, form: Resource) -> Shown:
        """Raises ApiError (500) if a conversion webhook fails."""
        if form == review.resource or review.subresource not in CONVERTED:
            return Shown(form, review.new, review.old)
        new, old = [await self.converted(obj, form) for obj in (review.new, review.old)]
        return Shown(form, new, old)

    async def converted(self, obj: Object | None, form: Resource) -> Object | None:
        """An object of another version of the resource."""
        if obj is None or obj.get("apiVersion") == form.api_version:
            return obj
        if conversion.convertible(obj["kind"], obj["apiVersion"], form.api_version):
            return conversion.convert(obj, form.api_version)
        kept = self._catalogue.kept[f"{form.api_version}/{form.plural}"]
        (data,) = await kept.registry.form.load([encoding.encode(obj)])
        found = encoding.decode(data)
        if "resourceVersion" in obj["metadata"]:  # bytes are kept without it
            found["metadata"]["resourceVersion"] = obj["metadata"]["resourceVersion"]
        return found


def _built_in(own: str) -> list[Resource]:
    found = [stored for served, stored in conversion.STORED.items() if served == own]
    found += [served for served, stored in conversion.STORED.items() if stored == own]
    return [resources.find(each) for each in found]
