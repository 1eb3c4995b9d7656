"""The patches that kubectl makes, and what they must come to: written from the description of
strategic merge patch alone, so that they can disagree with the server's merge.

`three_way(original, modified, current)` is the patch of `kubectl apply`: what the configuration has
and the live object has not, and what the configuration has dropped since it was last applied.
`expected(...)` says what the live object must be afterwards, up to the order of lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import schema

Object = dict[str, Any]


def field_of(type_: str, name: str) -> schema.Field:
    if type_.startswith("{}"):
        return schema.Field(type_[2:])
    definition = schema.find(type_)
    found = definition.fields.get(name) if definition else None
    return found or schema.Field("")


def merges(field: schema.Field) -> bool:
    return field.is_list and "merge" in field.patch_strategy.split(",")


def replaces(field: schema.Field) -> bool:
    return "replace" in field.patch_strategy.split(",")


def two_way(old: Object, new: Object, type_: str, drops: bool = True, adds: bool = True) -> Object:
    """What turns `old` into `new`; without `drops` or `adds` only the other half of it."""
    patch: Object = {}
    for name in [*old, *(n for n in new if n not in old)]:
        field = field_of(type_, name)
        if name not in new:
            if drops:
                patch[name] = None
        elif name not in old:
            if adds:
                patch[name] = new[name]
        elif old[name] != new[name]:
            patch.update(_changed(name, old[name], new[name], field, drops, adds))
    return patch


def _changed(
    name: str, old: Any, new: Any, field: schema.Field, drops: bool, adds: bool
) -> Iterator[tuple[str, Any]]:
    if isinstance(old, dict) and isinstance(new, dict) and not replaces(field):
        inner = two_way(old, new, field.type, drops, adds)
        if "retainKeys" in field.patch_strategy and (inner or adds):
            inner["$retainKeys"] = sorted(new)
        if inner:
            yield name, inner
    elif merges(field) and isinstance(old, list) and isinstance(new, list):
        yield from _list(name, old, new, field, drops, adds)
    elif adds:
        yield name, new


def _list(
    name: str, old: list[Any], new: list[Any], field: schema.Field, drops: bool, adds: bool
) -> Iterator[tuple[str, Any]]:
    key = field.patch_merge_key
    if not key:
        if drops and (gone := [item for item in old if item not in new]):
            yield f"$deleteFromPrimitiveList/{name}", gone
        added = [item for item in new if item not in old]
        if adds:
            yield f"$setElementOrder/{name}", new
            if added:
                yield name, added
        return
    before, after = {i[key]: i for i in old}, {i[key]: i for i in new}
    patches: list[Any] = []
    for found, item in after.items():
        if found not in before:
            patches += [item] if adds else []
        elif inner := two_way(before[found], item, field.element, drops, adds):
            patches.append({**inner, key: found})
    if drops:
        patches += [{"$patch": "delete", key: k} for k in before if k not in after]
    if adds:
        yield f"$setElementOrder/{name}", [{key: k} for k in after]
    if patches:
        yield name, patches


def three_way(original: Object, modified: Object, current: Object, type_: str) -> Object:
    """kubectl's: deletions since the last configuration, additions to what is live."""
    deletions = two_way(original, modified, type_, adds=False)
    additions = two_way(current, modified, type_, drops=False)
    return _joined(deletions, additions, type_)


def _joined(deletions: Object, additions: Object, type_: str) -> Object:
    merged = dict(deletions)
    for name, value in additions.items():
        field = field_of(type_, name)
        mine = merged.get(name)
        if isinstance(mine, dict) and isinstance(value, dict):
            merged[name] = _joined(mine, value, field.type)
        elif isinstance(mine, list) and isinstance(value, list) and merges(field):
            merged[name] = _joined_items(mine, value, field)
        else:
            merged[name] = value
    return merged


def _joined_items(deletions: list[Any], additions: list[Any], field: schema.Field) -> list[Any]:
    """In the order of the additions, which is that of the configuration."""
    key = field.patch_merge_key
    if not key:
        return additions
    mine = {item[key]: item for item in deletions}
    theirs = {item[key]: item for item in additions}
    joined = [
        _joined(mine[k], item, field.element) if k in mine else item for k, item in theirs.items()
    ]
    return joined + [item for k, item in mine.items() if k not in theirs]


def expected(original: Any, modified: Any, current: Any, field: schema.Field) -> Any:
    """The live value after an apply: what the configuration says, and what it never said."""
    if isinstance(modified, dict) and isinstance(current, dict) and not replaces(field):
        was = original if isinstance(original, dict) else {}
        return _expected_map(was, modified, current, field)
    if merges(field) and isinstance(modified, list) and isinstance(current, list):
        was = original if isinstance(original, list) else []
        return _expected_list(was, modified, current, field)
    return modified


def _expected_map(was: Object, modified: Object, current: Object, field: schema.Field) -> Object:
    kept = {
        name: value
        for name, value in current.items()
        if name in modified
        or (name not in was and ("retainKeys" not in field.patch_strategy or modified == current))
    }
    return kept | {
        name: expected(was.get(name), value, current[name], field_of(field.type, name))
        if name in current
        else value
        for name, value in modified.items()
    }


def _expected_list(
    was: list[Any], modified: list[Any], current: list[Any], field: schema.Field
) -> list[Any]:
    key = field.patch_merge_key
    if not key:
        return modified + [i for i in current if i not in modified and i not in was]
    old = {i[key]: i for i in was}
    live = {i[key]: i for i in current}
    wanted = {i[key]: i for i in modified}
    element = schema.Field(field.element)
    merged = [
        expected(old.get(k), item, live[k], element) if k in live else item
        for k, item in wanted.items()
    ]
    return merged + [i for k, i in live.items() if k not in wanted and k not in old]


def unordered(value: Any, field: schema.Field) -> Any:
    """Comparable whatever the order of merged lists."""
    if isinstance(value, dict):
        return {n: unordered(item, field_of(field.type, n)) for n, item in value.items()}
    if isinstance(value, list):
        items = [unordered(item, schema.Field(field.element)) for item in value]
        return sorted(items, key=repr) if merges(field) else items
    return value
