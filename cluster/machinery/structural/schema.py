"""The parsed form of a structural schema: a tree of what may stand where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Raw = Mapping[str, Any]

ROOT_FIELDS = ("apiVersion", "kind", "metadata")
"""Every resource has them, whether its schema says so or not."""


@dataclass(slots=True)
class Structural:
    """One node. `raw` is the JSON schema itself, for its value validations.

    `additional` is the schema of a map's values; `open` says that any other field may stand
    there (`additionalProperties: true`).
    """

    raw: Raw
    type: str
    nullable: bool
    preserve: bool
    embedded: bool
    int_or_string: bool
    root: bool = False
    properties: dict[str, Structural] = field(default_factory=dict)
    items: Structural | None = None
    additional: Structural | None = None
    open: bool = False
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    rules: tuple[Raw, ...] = ()
    has_rules: bool = False
    has_defaults: bool = False

    @property
    def has_default(self) -> bool:
        return "default" in self.raw and self.raw["default"] is not None

    @property
    def is_resource(self) -> bool:
        """Whether objects here have apiVersion, kind and metadata."""
        return self.root or self.embedded

    def children(self) -> list[Structural]:
        """The schemas below."""
        found = list(self.properties.values())
        return [*found, *(c for c in (self.items, self.additional) if c is not None)]


def parse(raw: Raw, root: bool = True) -> Structural:
    """Of an `openAPIV3Schema` that has passed validation; `{}` describes anything."""
    additional = raw.get("additionalProperties")
    items = raw.get("items")
    node = Structural(
        raw=raw,
        type=raw.get("type") or "",
        nullable=bool(raw.get("nullable")),
        preserve=bool(raw.get("x-kubernetes-preserve-unknown-fields")),
        embedded=bool(raw.get("x-kubernetes-embedded-resource")),
        int_or_string=bool(raw.get("x-kubernetes-int-or-string")),
        root=root,
        properties={
            name: parse(each, root=False) for name, each in (raw.get("properties") or {}).items()
        },
        items=parse(items, root=False) if isinstance(items, Mapping) else None,
        additional=parse(additional, root=False) if isinstance(additional, Mapping) else None,
        open=additional is True,
        list_type=raw.get("x-kubernetes-list-type") or "",
        list_map_keys=tuple(raw.get("x-kubernetes-list-map-keys") or ()),
        rules=tuple(raw.get("x-kubernetes-validations") or ()),
    )
    below = node.children()
    node.has_rules = bool(node.rules) or any(child.has_rules for child in below)
    node.has_defaults = node.has_default or any(child.has_defaults for child in below)
    return node


def join(path: str, name: str) -> str:
    """The field path of a child."""
    return f"{path}.{name}" if path else name
