"""Bodies of custom resources: checked, pruned and defaulted by their structural schema."""

from __future__ import annotations

from typing import Any

from cluster.machinery import empties, nulls, schema, strict
from cluster.machinery.structural import Structural, defaulting, pruning

Object = dict[str, Any]


class CustomKind:
    """One version of a definition."""

    merge_type = ""
    """Strategic merge patches need a type of the tables."""

    def __init__(self, structural: Structural) -> None:
        self.structural = structural

    def check_types(self, obj: Object) -> list[str]:
        """Only the metadata has Go types; the rest is validated by the schema."""
        metadata = obj.get("metadata")
        if metadata is None:
            return []
        if not isinstance(metadata, dict):
            found = type(metadata).__name__
            return [f"json: cannot unmarshal {found} into Go value of type v1.ObjectMeta"]
        return strict.check_types(metadata, schema.OBJECT_META)

    def unknown_fields(self, obj: Object) -> list[str]:
        metadata = obj.get("metadata") or {}
        prefix = 'unknown field "'
        below = [f.replace(prefix, f"{prefix}metadata.", 1)
                 for f in strict.check(metadata, schema.OBJECT_META)]  # fmt: skip
        return below + [f'unknown field "{p}"' for p in pruning.unknown(obj, self.structural)]

    def prune(self, obj: Object, *, known: bool = False) -> None:
        metadata = obj["metadata"] = obj.get("metadata") or {}
        strict.prune(metadata, schema.OBJECT_META)
        nulls.drop(metadata)
        pruning.prune(obj, self.structural)

    def default(self, obj: Object) -> None:
        empties.drop(obj.get("metadata") or {}, schema.OBJECT_META)
        defaulting.apply(obj, self.structural)
        defaulting.drop_nulls(obj, self.structural)

    def read(self, obj: Object) -> None:
        """What also happens to what comes from the store: an older schema may have let it in."""
        pruning.prune(obj, self.structural)
        self.default(obj)
