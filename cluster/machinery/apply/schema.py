"""The small schema that field management needs: what is a leaf, and how lists and maps merge.

Built-in kinds get it from the schema tables (`builtin`), custom resources from their structural
schemas (`custom`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Object = dict[str, Any]


class Leaf:
    """Scalars, and all that is replaced as a whole: atomic lists, maps and structs."""


@dataclass(slots=True)
class ListType:
    """A list whose items are owned one by one: by `keys`, or by value where there are none."""

    item: Type
    keys: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def same_item(self, one: Any, other: Any) -> bool:
        """Whether two items have the same keys, and so are versions of one."""
        if not self.keys or not isinstance(one, dict) or not isinstance(other, dict):
            return bool(one == other)
        return all(one.get(name) == other.get(name) for name in self.keys)


@dataclass(slots=True)
class MapType:
    """A struct with `fields`, a map whose values are `rest`, or both. `rest` None: no others.

    `required` fields are always there in a typed object: their being there is nobody's doing.
    """

    fields: dict[str, Type] = field(default_factory=dict)
    rest: Type | None = None
    required: frozenset[str] = frozenset()

    def below(self, name: str) -> Type:
        """The type of a field; what the schema does not know is deduced from its value."""
        return self.fields.get(name) or self.rest or ANY


class Any_:
    """Whatever it is: maps are granular, everything else is a leaf (upstream's deduced type)."""


Type = Leaf | ListType | MapType | Any_

LEAF = Leaf()
ANY = Any_()
OPEN = MapType(rest=ANY)


def resolve(kind: Type, value: Any) -> Type:
    """The type by which to walk into a value: LEAF where there is no walking into it."""
    if isinstance(kind, MapType):
        return kind if isinstance(value, dict) else LEAF
    if isinstance(kind, ListType):
        return kind if isinstance(value, list) else LEAF
    if isinstance(kind, Any_):
        return OPEN if isinstance(value, dict) else LEAF
    return kind


class Versions(Protocol):
    """The versions of one kind: managers may have written through any of them."""

    def type_of(self, api_version: str, kind: str) -> MapType | None:
        """The type of objects in a version; None if it is not served any more."""
        ...

    def convert(self, obj: Object, api_version: str) -> Object:
        """The object in another version that `type_of` knows."""
        ...
