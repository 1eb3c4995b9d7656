"""Walks over values by their types: the fields of one, and what differs between two."""

from __future__ import annotations

from typing import Any

from cluster.machinery.apply import elements
from cluster.machinery.apply.schema import LEAF as LEAF_TYPE
from cluster.machinery.apply.schema import ListType, MapType, Type, resolve
from cluster.machinery.apply.sets import LEAF, SELF, Tree


class DuplicateItems(ValueError):
    """An applied list names the same item twice."""


def items_of(kind: ListType, items: list[Any], *, unique: bool = False) -> dict[str, Any]:
    """From path elements to items. Of items with one element the last counts, unless `unique`."""
    found: dict[str, Any] = {}
    for item in items:
        if kind.keys and not isinstance(item, dict):
            raise elements.KeyMissing("associative list with keys may not have other than objects")
        element = (
            elements.key(item, kind.keys, kind.defaults) if kind.keys else elements.value(item)
        )
        if unique and element in found:
            raise DuplicateItems(f"duplicate entries for key {elements.display([element])}")
        found[element] = item
    return found


def fields_of(value: dict[str, Any], kind: MapType) -> Tree:
    """The set of what an applied configuration says.

    Leaves are members, and so are items of lists and keys of maps; fields of structs only
    where they are empty.
    """
    tree: Tree = {}
    for name, item in value.items():
        node = _applied_node(item, kind.below(name))
        if node and name not in kind.fields:
            node = {SELF: LEAF, **node}
        if node is not None:
            tree["f:" + name] = node
    return tree


def _applied_node(value: Any, kind: Type) -> Tree | None:
    """None: an empty list of items, which says nothing."""
    found = resolve(kind, value)
    if isinstance(found, MapType):
        return fields_of(value, found)
    if not isinstance(found, ListType):
        return LEAF
    tree: Tree = {}
    for element, item in items_of(found, value, unique=True).items():
        node = _applied_node(item, found.item)
        tree[element] = {SELF: LEAF, **node} if node else LEAF
    return tree or None


def added(value: Any, kind: Type) -> Tree:
    """The set below a value that appears or goes: every node on the way is a member."""
    found = resolve(kind, value)
    if isinstance(found, MapType):
        fields, required = found.fields, found.required
        tree: Tree = {}
        for name, item in value.items():
            below = fields.get(name) or found.below(name)
            node = LEAF if below is LEAF_TYPE else added(item, below)
            if SELF in node and name in required:
                node = {element: n for element, n in node.items() if element != SELF}
            tree["f:" + name] = node
    elif isinstance(found, ListType):
        tree = {e: added(item, found.item) for e, item in items_of(found, value).items()}
    else:
        return LEAF
    return {SELF: LEAF, **tree} if tree else LEAF


def compare(old: dict[str, Any], new: dict[str, Any], kind: MapType) -> tuple[Tree, Tree]:
    """(what is new or has another value, what is gone) between two values of a struct or map."""
    changed: Tree = {}
    removed: Tree = {}
    for name, after in new.items():
        if name not in old:
            changed["f:" + name] = added(after, kind.below(name))
        elif old[name] != after:
            _compare_values(old[name], after, kind.below(name), "f:" + name, changed, removed)
    for name in old.keys() - new.keys():
        removed["f:" + name] = added(old[name], kind.below(name))
    return changed, removed


def _compare_values(
    before: Any, after: Any, kind: Type, element: str, changed: Tree, removed: Tree
) -> None:
    """Two values that differ, at an element of what `changed` and `removed` describe."""
    one, other = resolve(kind, before), resolve(kind, after)
    if one is not other:
        changed[element] = added(after, kind)
        gone = {e: node for e, node in added(before, kind).items() if e != SELF}
        if gone:
            removed[element] = gone
        return
    if isinstance(one, MapType):
        found, lost = compare(before, after, one)
    elif isinstance(one, ListType):
        found, lost = _compare_lists(before, after, one)
    else:
        changed[element] = LEAF
        return
    if found:
        changed[element] = found
    if lost:
        removed[element] = lost


def _compare_lists(before: list[Any], after: list[Any], kind: ListType) -> tuple[Tree, Tree]:
    changed: Tree = {}
    removed: Tree = {}
    if len(before) == len(after) and all(map(kind.same_item, before, after)):
        for one, other in zip(before, after, strict=True):  # usual: nothing comes, goes or moves
            if one != other:
                element = elements.key(other, kind.keys, kind.defaults)
                _compare_values(one, other, kind.item, element, changed, removed)
        return changed, removed
    old, new = items_of(kind, before), items_of(kind, after)
    for element, item in new.items():
        if element not in old:
            changed[element] = added(item, kind.item)
        elif old[element] != item:
            _compare_values(old[element], item, kind.item, element, changed, removed)
    for element in old.keys() - new.keys():
        removed[element] = added(old[element], kind.item)
    return changed, removed
