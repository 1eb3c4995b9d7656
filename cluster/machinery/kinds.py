"""What a body of one kind is checked against on its way in, whatever describes the kind.

Belongs here: the interface, and the kinds of the tables. Kinds of custom resources, which a
structural schema describes: `cluster.machinery.structural`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from cluster.machinery import defaulting, empties, nulls, schema, strict

Object = dict[str, Any]


class Kind(Protocol):
    """Objects belong to the caller; `prune` and `default` change them in place."""

    @property
    def merge_type(self) -> str:
        """The type that strategic merge patches go by; "" where there are none."""
        ...

    def check_types(self, obj: Object) -> list[str]:
        """What a decoder says of values of the wrong JSON type."""
        ...

    def unknown_fields(self, obj: Object) -> list[str]:
        """`unknown field "spec.x"` for each field that the kind has not."""
        ...

    def prune(self, obj: Object, *, known: bool = False) -> None:
        """Drop unknown fields and resolve nulls; metadata is there afterwards.

        `known`: `unknown_fields` has found none.
        """
        ...

    def default(self, obj: Object) -> None:
        """Leave out what is empty and fill in defaults, after `prune` and not before a merge: there
        an empty list says something.
        """
        ...


class TableKind:
    """A kind of the generated tables."""

    def __init__(self, type_name: str) -> None:
        self.merge_type = type_name

    def check_types(self, obj: Object) -> list[str]:
        return strict.check_types(obj, self.merge_type)

    def unknown_fields(self, obj: Object) -> list[str]:
        return strict.check(obj, self.merge_type)

    def prune(self, obj: Object, *, known: bool = False) -> None:
        if not known:
            strict.drop_unknown(obj, self.merge_type)
        if nulls.contains_null(obj):
            nulls.resolve(obj, self.merge_type)
            nulls.drop(obj)
        if obj.get("metadata") is None:
            obj["metadata"] = {}

    def default(self, obj: Object) -> None:
        empties.drop(obj, self.merge_type)
        defaulting.apply(obj)


@cache
def built_in(api_version: str, kind: str) -> TableKind | None:
    """The kind of the tables with this apiVersion and kind."""
    type_name = schema.type_for(api_version, kind)
    return None if type_name is None else TableKind(type_name)
