"""Empty fields, as Go's encoder leaves them out: what is zero and no pointer is absent.

Every object of upstream goes through a Go struct whose fields are `omitempty`, so `labels: {}`,
`env: []`, `hostNetwork: false` and `value: ""` are neither stored nor a change, whoever sends them.
Fields that must be there, pointers and whole structs stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cluster.machinery import schema

_PLAIN = frozenset(
    {"string", "string:byte", "boolean", "integer:int32", "integer:int64", "number:double"}
)
_SHOWN = {
    "k8s.io.api.rbac.v1.Role": {"rules"},
    "k8s.io.api.rbac.v1.ClusterRole": {"rules"},
    "k8s.io.api.discovery.v1.EndpointSlice": {"ports"},
}
"""Optional, yet without `omitempty`."""


@dataclass(slots=True)
class _Struct:
    """`omitted`: fields that are left out when they are empty; `below`: those with structs, each
    with "[]", "{}" or "" and the type of the struct.
    """

    omitted: frozenset[str]
    below: dict[str, tuple[str, str]] = field(default_factory=dict)


@cache
def _struct(type_name: str) -> _Struct:
    definition = schema.definition(type_name)
    kept = {*definition.required, *schema.pointers(type_name), *_SHOWN.get(type_name, ())}
    made = _Struct(
        frozenset(
            name
            for name, entry in definition.fields.items()
            if name not in kept and (entry.is_list or entry.is_map or entry.type in _PLAIN)
        )
    )
    for name, entry in definition.fields.items():
        inner = schema.find(entry.element)
        if inner is not None and not inner.scalar:
            made.below[name] = (entry.type[:2] if entry.is_list or entry.is_map else "", inner.name)
    return made


_ZEROS: dict[str, Any] = {
    "string": "", "boolean": False, "integer:int32": 0, "integer:int64": 0
}  # fmt: skip


def zero_status(obj: dict[str, Any]) -> dict[str, Any]:
    """The status that a new object of this kind has in Go: numbers that must be there are 0."""
    type_name = schema.type_for(obj.get("apiVersion", ""), obj.get("kind", ""))
    field = schema.definition(type_name).fields.get("status") if type_name else None
    if field is None or schema.find(field.type) is None:
        return {}
    definition = schema.definition(field.type)
    wanted = {name: definition.fields[name].type for name in definition.required}
    return {name: _ZEROS[type_] for name, type_ in wanted.items() if type_ in _ZEROS}


def drop(obj: dict[str, Any], type_name: str) -> None:
    """In place, for an object that its schema has been checked against."""
    struct = _struct(type_name)
    empty = [name for name, value in obj.items() if not value and name in struct.omitted]
    for name in empty:
        del obj[name]
    below = struct.below
    for name, value in obj.items():
        if value and name in below:
            container, inner = below[name]
            if not container:
                drop(value, inner)
                continue
            for item in value if container == "[]" else value.values():
                if item:
                    drop(item, inner)
