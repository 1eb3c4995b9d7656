"""Whether an `openAPIV3Schema` is structural (KEP-1979), with upstream's paths and messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.machinery import regex
from cluster.machinery.structural.schema import ROOT_FIELDS, Raw
from cluster.machinery.validation.field import Errors

MAX_DEPTH = 100
MAX_JUNCTORS = 30
"""Of value validations in each other; upstream leaves this to the size of a request."""
TYPES = ("array", "boolean", "integer", "number", "object", "string")
UNSUPPORTED = {
    "id": "id is not supported",
    "additionalItems": "additionalItems is not supported",
    "patternProperties": "patternProperties is not supported",
    "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported",
    "$ref": "$ref is not supported",
}
STRUCTURE_ONLY = ("type", "title", "description", "nullable", "default", "additionalProperties")
JUNCTORS = ("allOf", "anyOf", "oneOf")
EXTENSIONS = (
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
    "x-kubernetes-map-type", "x-kubernetes-validations",
)  # fmt: skip
INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


def check(raw: Raw, path: str, errors: Errors) -> None:
    """Append every reason why the schema is refused. `path` is that of the schema itself."""
    _node(raw, path, errors, _Place(root=True, level="root"))


class _Place:
    """Where a node stands: what its lack of a type is called, and how deep it is."""

    def __init__(self, level: str, root: bool = False, depth: int = 0):
        self.level, self.root, self.depth = level, root, depth


def _node(raw: Any, path: str, errors: Errors, place: _Place) -> None:
    if not isinstance(raw, Mapping):
        errors.invalid(path, raw, "must be a schema object")
        return
    if place.depth > MAX_DEPTH:
        errors.invalid(path, "", f"must not be nested more than {MAX_DEPTH} levels deep")
        return
    _keywords(raw, path, errors)
    _type(raw, path, errors, place)
    _extensions(raw, path, errors, place)
    _resource_fields(raw, path, errors, place)
    _list(raw, path, errors)
    _children(raw, path, errors, place)
    _values(raw, path, errors, raw, path)


def _keywords(raw: Raw, path: str, errors: Errors) -> None:
    for name, text in UNSUPPORTED.items():
        if raw.get(name):
            errors.forbidden(f"{path}.{name}", text)
    if raw.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.forbidden(f"{path}.uniqueItems", text)
    if raw.get("additionalProperties") is False:
        text = "additionalProperties cannot be set to false"
        errors.forbidden(f"{path}.additionalProperties", text)
    if isinstance(raw.get("items"), list):
        errors.forbidden(f"{path}.items", "items must be a schema object and not an array")
    if raw.get("pattern"):
        try:
            regex.compile(raw["pattern"])
        except regex.RegexError as error:
            text = f"must be a valid regular expression, but isn't: {error}"
            errors.invalid(f"{path}.pattern", raw["pattern"], text)


def _type(raw: Raw, path: str, errors: Errors, place: _Place) -> None:
    type_ = raw.get("type") or ""
    if type_ == "null":
        errors.forbidden(
            f"{path}.type", "type cannot be set to null, use nullable as an alternative"
        )
    elif type_ and type_ not in TYPES:
        errors.not_supported(f"{path}.type", type_, TYPES)
    if place.root:
        if type_ != "object":
            _root_type(type_, path, errors)
        if raw.get("nullable"):
            errors.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
        return
    free = raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
    if not type_ and not free:
        errors.required(f"{path}.type", f"must not be empty for specified {place.level}")


def _root_type(type_: str, path: str, errors: Errors) -> None:
    if not type_:
        errors.required(f"{path}.type", "must not be empty at the root")
    else:
        errors.invalid(f"{path}.type", type_, "must be object at the root")


def _extensions(raw: Raw, path: str, errors: Errors, place: _Place) -> None:
    type_ = raw.get("type") or ""
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        name = "x-kubernetes-preserve-unknown-fields"
        errors.invalid(f"{path}.{name}", False, "must be true or undefined")
    elif raw.get("x-kubernetes-preserve-unknown-fields") and type_ not in ("", "object", "array"):
        text = "must be object or array if x-kubernetes-preserve-unknown-fields is true"
        errors.invalid(f"{path}.type", type_, text)
    if raw.get("x-kubernetes-int-or-string"):
        _int_or_string(raw, path, errors)
    if raw.get("x-kubernetes-embedded-resource"):
        _embedded(raw, path, errors, place)


def _int_or_string(raw: Raw, path: str, errors: Errors) -> None:
    if raw.get("type"):
        text = "must be empty if x-kubernetes-int-or-string is true"
        errors.invalid(f"{path}.type", raw["type"], text)
    if raw.get("x-kubernetes-preserve-unknown-fields"):
        name = "x-kubernetes-preserve-unknown-fields"
        errors.invalid(
            f"{path}.{name}", True, "must be false if x-kubernetes-int-or-string is true"
        )


def _embedded(raw: Raw, path: str, errors: Errors, place: _Place) -> None:
    name = "x-kubernetes-embedded-resource"
    if place.root:
        errors.forbidden(f"{path}.{name}", "must not be used at the root")
    if raw.get("type") != "object":
        errors.invalid(f"{path}.type", raw.get("type") or "", f"must be object if {name} is true")
    if not raw.get("properties") and not raw.get("x-kubernetes-preserve-unknown-fields"):
        text = f"must not be empty if {name} is true without x-kubernetes-preserve-unknown-fields"
        errors.required(f"{path}.properties", text)


def _resource_fields(raw: Raw, path: str, errors: Errors, place: _Place) -> None:
    """What a resource's schema may say of apiVersion, kind and metadata."""
    if not place.root and not raw.get("x-kubernetes-embedded-resource"):
        return
    for name in ROOT_FIELDS:
        found = (raw.get("properties") or {}).get(name)
        at = f"{path}.properties[{name}]"
        if not isinstance(found, Mapping):
            continue
        wanted = "object" if name == "metadata" else "string"
        if found.get("type") != wanted:
            errors.invalid(f"{at}.type", found.get("type") or "", f"must be {wanted}")
        if name == "metadata" and place.root:
            _root_metadata(found, at, errors)


def _root_metadata(found: Raw, path: str, errors: Errors) -> None:
    allowed = {"name", "generateName"}
    others = {"type", "description", "title", "properties"}
    if set(found.get("properties") or ()) - allowed or set(found) - others:
        text = (
            "must not specify anything other than name and generateName, but metadata is "
            "implicitly specified"
        )
        errors.forbidden(path, text)


def _list(raw: Raw, path: str, errors: Errors) -> None:
    list_type = raw.get("x-kubernetes-list-type")
    keys = raw.get("x-kubernetes-list-map-keys") or ()
    at = f"{path}.x-kubernetes-list-type"
    map_type = raw.get("x-kubernetes-map-type")
    if map_type is not None and map_type not in ("granular", "atomic"):
        errors.not_supported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular"))
    if map_type is not None and raw.get("type") != "object":
        text = "must be object if x-kubernetes-map-type is specified"
        errors.invalid(f"{path}.type", raw.get("type") or "", text)
    if list_type is None:
        if keys:
            errors.required(at, "must be map if x-kubernetes-list-map-keys is non-empty")
        return
    if list_type not in ("atomic", "set", "map"):
        errors.not_supported(at, list_type, ("atomic", "map", "set"))
    if raw.get("type") != "array":
        text = "must be array if x-kubernetes-list-type is specified"
        errors.invalid(f"{path}.type", raw.get("type") or "", text)
    if keys and list_type != "map":
        errors.invalid(at, list_type, "must be map if x-kubernetes-list-map-keys is non-empty")
    items = raw.get("items")
    if list_type in ("set", "map") and not isinstance(items, Mapping):
        errors.required(
            f"{path}.items", f"must not be empty if x-kubernetes-list-type is {list_type}"
        )
    elif list_type == "set":
        _set_items(items or {}, f"{path}.items", errors)
    elif list_type == "map":
        _map_items(items or {}, tuple(keys), path, errors)


def _set_items(items: Raw, path: str, errors: Errors) -> None:
    if items.get("nullable"):
        errors.forbidden(
            f"{path}.nullable", "cannot be nullable when x-kubernetes-list-type is set"
        )
    atomic_map = items.get("x-kubernetes-map-type") == "atomic"
    atomic_list = items.get("x-kubernetes-list-type") in (None, "atomic")
    if items.get("type") == "object" and not atomic_map:
        text = "must be atomic as item of a list with x-kubernetes-list-type=set"
        errors.invalid(f"{path}.x-kubernetes-map-type", items.get("x-kubernetes-map-type"), text)
    if items.get("type") == "array" and not atomic_list:
        text = "must be atomic as item of a list with x-kubernetes-list-type=set"
        errors.invalid(f"{path}.x-kubernetes-list-type", items["x-kubernetes-list-type"], text)


def _map_items(items: Raw, keys: tuple[str, ...], path: str, errors: Errors) -> None:
    at = f"{path}.x-kubernetes-list-map-keys"
    if items.get("type") != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        errors.invalid(f"{path}.items.type", items.get("type") or "", text)
    if not keys:
        errors.required(at, "must not be empty if x-kubernetes-list-type is map")
    for place, key in enumerate(keys):
        prop = (items.get("properties") or {}).get(key)
        if prop is None:
            errors.invalid(f"{at}[{place}]", key, "must be a property in items.properties")
            continue
        if prop.get("type") in ("object", "array"):
            errors.invalid(
                f"{path}.items.properties[{key}].type",
                prop["type"],
                "must be a scalar type if parent array's x-kubernetes-list-type is map",
            )
        if key not in (items.get("required") or ()) and prop.get("default") is None:
            text = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be "
                "a required property"
            )
            errors.required(f"{path}.items.properties[{key}].default", text)
        if prop.get("nullable"):
            text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            errors.forbidden(f"{path}.items.properties[{key}].nullable", text)
    for place, key in enumerate(keys):
        if key in keys[:place]:
            errors.duplicate(f"{at}[{place}]", key)


def _children(raw: Raw, path: str, errors: Errors, place: _Place) -> None:
    below = place.depth + 1
    for name, child in (raw.get("properties") or {}).items():
        _node(child, f"{path}.properties[{name}]", errors,
              _Place("object fields", depth=below))  # fmt: skip
    additional, items = raw.get("additionalProperties"), raw.get("items")
    if isinstance(additional, Mapping) or additional is True:
        if raw.get("properties"):
            text = "additionalProperties and properties are mutual exclusive"
            errors.forbidden(f"{path}.additionalProperties", text)
        if place.root:
            errors.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if isinstance(additional, Mapping):
        _node(additional, f"{path}.additionalProperties", errors,
              _Place("object fields", depth=below))  # fmt: skip
    if raw.get("type") == "array" and items is None:
        errors.required(f"{path}.items", "must be specified")
    if isinstance(items, Mapping):
        _node(items, f"{path}.items", errors, _Place("array items", depth=below))


def _values(
    raw: Raw, path: str, errors: Errors, structure: Raw, origin: str, depth: int = 0
) -> None:
    """Junctors repeat no structure, and specify nothing that the structure has not."""
    int_or_string = raw is structure and raw.get("x-kubernetes-int-or-string")
    for junctor in JUNCTORS:
        for at, each in enumerate(raw.get(junctor) or ()):
            place = f"{path}.{junctor}[{at}]"
            if int_or_string and _is_int_or_string(raw, junctor, at):
                continue
            _below_junctor(each, place, errors, structure, origin, depth + 1)
    if raw.get("not") is not None:
        _below_junctor(raw["not"], f"{path}.not", errors, structure, origin, depth + 1)


def _is_int_or_string(raw: Raw, junctor: str, at: int) -> bool:
    """`anyOf: [{type: integer}, {type: string}]`, at the top or first in an allOf."""
    if junctor == "anyOf":
        return list(raw["anyOf"]) == INT_OR_STRING
    return junctor == "allOf" and at == 0 and raw["allOf"][0].get("anyOf") == INT_OR_STRING


def _below_junctor(
    raw: Any, path: str, errors: Errors, structure: Raw, origin: str, depth: int
) -> None:
    if depth > MAX_JUNCTORS:
        text = f"must not be nested more than {MAX_JUNCTORS} levels deep"
        errors.invalid(path, "", text)
        return
    if not isinstance(raw, Mapping):
        errors.invalid(path, raw, "must be a schema object")
        return
    for name in STRUCTURE_ONLY:
        if raw.get(name) not in (None, "", False):
            errors.forbidden(f"{path}.{name}", "must be empty to be structural")
    for name in EXTENSIONS:
        if raw.get(name):
            errors.forbidden(f"{path}.{name}", "must be undefined to be structural")
    _keywords(raw, path, errors)
    known = structure.get("properties") or {}
    for name, child in (raw.get("properties") or {}).items():
        place = f"{path}.properties[{name}]"
        if name not in known:
            text = f"because it is defined in {place}"
            errors.required(f"{origin}.properties[{name}]", text)
            continue
        _below_junctor(child, place, errors, known[name], f"{origin}.properties[{name}]", depth + 1)
    if isinstance(raw.get("items"), Mapping):
        items = structure.get("items")
        if not isinstance(items, Mapping):
            errors.required(f"{origin}.items", f"because it is defined in {path}.items")
        else:
            _below_junctor(
                raw["items"], f"{path}.items", errors, items, f"{origin}.items", depth + 1
            )
    _values(raw, path, errors, structure, origin, depth)
