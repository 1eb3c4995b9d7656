"""Strategic merge patch: a merge that knows which lists are maps by a key.

Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/LIST` and
`$deleteFromPrimitiveList/LIST`. Merge keys and strategies come from the schema tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cluster.machinery import schema
from cluster.machinery.errors import PatchError
from cluster.machinery.patch import copied
from cluster.machinery.patch.ordering import interleave, matches_order

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"

_NO_FIELD = schema.Field("")


def apply(doc: dict[str, Any], patch: dict[str, Any], type_name: str) -> dict[str, Any]:
    """The document, of an API type, with the patch merged in; PatchError if it cannot be."""
    if not isinstance(patch, dict):
        raise PatchError("a strategic merge patch must be an object")
    return _merge_map(copied(doc), copied(patch), type_name)


def _field(type_name: str, name: str) -> schema.Field:
    """How a field merges; plainly for types and fields that the tables do not know."""
    if type_name.startswith("{}"):
        return schema.Field(type_name[2:])
    definition = schema.find(type_name)
    return definition.fields.get(name, _NO_FIELD) if definition else _NO_FIELD


def _merge_map(original: dict[str, Any], patch: dict[str, Any], type_name: str) -> dict[str, Any]:
    directive = patch.pop(DIRECTIVE, None)
    if directive == "replace":
        return patch
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"unknown patch type found: {directive}")
    _retain_keys(original, patch)
    _delete_from_primitive_lists(original, patch)
    orders = _take_prefixed(patch, SET_ORDER)
    for name, value in patch.items():
        _merge_entry(original, name, value, _field(type_name, name), orders.pop(name, None))
    for name, order in orders.items():
        _reorder(original, name, order, _field(type_name, name))
    return original


def _take_prefixed(patch: dict[str, Any], prefix: str) -> dict[str, list[Any]]:
    """The lists under `prefix`NAME, by NAME; they leave the patch."""
    found = {}
    for key in [key for key in patch if key.startswith(prefix)]:
        value = patch.pop(key)
        if not isinstance(value, list):
            raise PatchError(f"{key} must be a list")
        found[key.removeprefix(prefix)] = value
    return found


def _retain_keys(original: dict[str, Any], patch: dict[str, Any]) -> None:
    keep = patch.pop(RETAIN_KEYS, None)
    if keep is None:
        return
    if not isinstance(keep, list):
        raise PatchError(f"{RETAIN_KEYS} must be a list")
    added = {name for name, value in patch.items() if value is not None and name[:1] != "$"}
    if not added <= set(keep):
        raise PatchError(f"all keys must be in {RETAIN_KEYS}: {sorted(added - set(keep))}")
    for name in [name for name in original if name not in keep]:
        del original[name]


def _delete_from_primitive_lists(original: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, gone in _take_prefixed(patch, DELETE_FROM).items():
        if isinstance(original.get(name), list):
            original[name] = [item for item in original[name] if item not in gone]


def _merge_entry(
    original: dict[str, Any],
    name: str,
    value: Any,
    field: schema.Field,
    order: list[Any] | None,
) -> None:
    if value is None:
        original.pop(name, None)
    elif isinstance(value, list) and "merge" in field.patch_strategy.split(","):
        current = original.get(name)
        original[name] = _merge_list(
            current if isinstance(current, list) else [], value, field, order
        )
    elif name not in original or "replace" in field.patch_strategy.split(","):
        original[name] = _without_directives(value)
    elif isinstance(value, dict) and isinstance(original[name], dict):
        original[name] = _merge_map(original[name], value, field.type)
    else:
        original[name] = _without_directives(value)


def _without_directives(value: Any) -> Any:
    """A value that is new to the document: no directives, no deleted elements, no nulls."""
    if isinstance(value, list):
        kept = [v for v in value if not (isinstance(v, dict) and v.get(DIRECTIVE) == "delete")]
        cleaned = [_without_directives(item) for item in kept]
        return [v for v, k in zip(cleaned, kept, strict=True) if v or not _only_directive(k)]
    if not isinstance(value, dict):
        return value
    if value.get(DIRECTIVE) == "delete":
        return {}
    return {
        key: _without_directives(item)
        for key, item in value.items()
        if item is not None
        and key not in (DIRECTIVE, RETAIN_KEYS)
        and not key.startswith((SET_ORDER, DELETE_FROM))
    }


def _only_directive(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {DIRECTIVE}


def _merge_list(
    original: list[Any], patch: list[Any], field: schema.Field, order: list[Any] | None
) -> list[Any]:
    if not field.patch_merge_key:
        return _merge_primitives(original, patch, order)
    return _merge_keyed(original, patch, field, order)


def _merge_primitives(original: list[Any], patch: list[Any], order: list[Any] | None) -> list[Any]:
    merged = list(original)
    merged.extend(item for item in dict.fromkeys(patch) if item not in original)
    return interleave(merged, original, patch if order is None else order, lambda item: item)


def _key_of(field: schema.Field) -> Callable[[Any], Any]:
    name = field.patch_merge_key

    def key(item: Any) -> Any:
        if not isinstance(item, dict) or item.get(name) is None:
            raise PatchError(f"map: {item} does not contain declared merge key: {name}")
        return item[name]

    return key if name else lambda item: item


def _merge_keyed(
    original: list[Any], patch: list[Any], field: schema.Field, order: list[Any] | None
) -> list[Any]:
    """A list of maps that are found again by their merge key."""
    plain, gone, replace = _split_directives(patch, field)
    if replace:
        return [_without_directives(item) for item in plain]
    key = _key_of(field)
    if order is not None:
        _check_order([key(item) for item in plain], order, field)
    merged = [
        item for item in original if not (isinstance(item, dict) and _key(item, field) in gone)
    ]
    for item in plain:
        _merge_item(merged, item, field)
    wanted = plain if order is None else order
    return interleave(merged, original, wanted, key)


def _key(item: dict[str, Any], field: schema.Field) -> Any:
    return item.get(field.patch_merge_key)


def _split_directives(
    patch: list[Any], field: schema.Field
) -> tuple[list[dict[str, Any]], list[Any], bool]:
    """(plain items, keys of the deleted, whether the list is replaced)."""
    plain: list[dict[str, Any]] = []
    gone: list[Any] = []
    replace = False
    key = _key_of(field)
    for item in patch:
        directive = item.get(DIRECTIVE) if isinstance(item, dict) else None
        if directive == "delete":
            gone.append(key(item))
        elif directive == "replace":
            replace = True
            if not _only_directive(item):
                plain.append({k: v for k, v in item.items() if k != DIRECTIVE})
        elif directive == "merge":
            raise PatchError("merging lists cannot yet be specified in the patch")
        elif directive is not None:
            raise PatchError(f"unknown patch type found: {directive}")
        else:
            key(item)
            plain.append(item)
    return plain, gone, replace


def _merge_item(merged: list[Any], item: dict[str, Any], field: schema.Field) -> None:
    wanted = _key(item, field)
    for at, candidate in enumerate(merged):
        if isinstance(candidate, dict) and _key(candidate, field) == wanted:
            merged[at] = _merge_map(candidate, item, field.element)
            return
    merged.append(_without_directives(item))


def _check_order(keys: Sequence[Any], order: list[Any], field: schema.Field) -> None:
    wanted = [_key_of(field)(item) for item in order]
    if not matches_order(keys, wanted):
        raise PatchError(
            f"the order in patch list: {list(keys)} doesn't match {SET_ORDER} list: {wanted}"
        )


def _reorder(original: dict[str, Any], name: str, order: list[Any], field: schema.Field) -> None:
    """`$setElementOrder` alone: the list's content stays."""
    current = original.get(name)
    if isinstance(current, list):
        original[name] = interleave(current, current, order, _key_of(field))
