"""Sets of field paths, as trees in the form of fieldsV1.

A tree maps path elements (`f:spec`, `k:{"name":"c"}`, `v:"x"`) to trees. `{}` below an element
says that the path so far is a member; with members below it, `"."` says so. The empty tree at
the root is the empty set. Trees are shared and never changed in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery.apply import elements

Tree = dict[str, Any]

SELF = "."
LEAF: Tree = {}
MAX_DEPTH = 200


def is_member(node: Tree) -> bool:
    """Whether the path to this node is in the set itself."""
    return not node or SELF in node


def union(one: Tree, other: Tree) -> Tree:
    """Members of either."""
    if not one or not other or one is other:
        return one or other
    joined = dict(one)
    for element, node in other.items():
        mine = joined.get(element)
        joined[element] = node if mine is None else _union_nodes(mine, node)
    return joined


def _union_nodes(one: Tree, other: Tree) -> Tree:
    if one == other:
        return one
    if not one or not other:
        return {SELF: LEAF, **(one or other)}
    return union(one, other)


def difference(one: Tree, other: Tree) -> Tree:
    """Members of the first alone; the first itself if they have none in common."""
    left = one
    for element, node in other.items():
        mine = one.get(element)
        if mine is None:
            continue
        rest = _node_difference(mine, node)
        if rest is mine:
            continue
        if left is one:
            left = dict(one)
        if rest is None:
            del left[element]
        else:
            left[element] = rest
    return left


def _node_difference(one: Tree, other: Tree) -> Tree | None:
    """None: nothing is left."""
    if not one:
        return None if is_member(other) else one
    if not other:  # a member without children
        if SELF not in one:
            return one
        return {element: node for element, node in one.items() if element != SELF}
    rest = difference(one, other)
    if not rest:
        return None
    return LEAF if rest.keys() == {SELF} else rest


def intersection(one: Tree, other: Tree) -> Tree:
    """Members of both."""
    found: Tree = {}
    for element in one.keys() & other.keys():
        node = _node_intersection(one[element], other[element])
        if node is not None:
            found[element] = node
    return found


def _node_intersection(one: Tree, other: Tree) -> Tree | None:
    both = is_member(one) and is_member(other)
    below = intersection(one, other)
    below.pop(SELF, None)
    if not below:
        return LEAF if both else None
    return {SELF: LEAF, **below} if both else below


def paths(tree: Tree) -> Iterator[tuple[str, ...]]:
    """The member paths, as tuples of elements."""
    for element, node in tree.items():
        if is_member(node):
            yield (element,)
        for below in paths(node):
            if below != (SELF,):
                yield (element, *below)


def from_paths(found: Iterator[tuple[str, ...]]) -> Tree:
    """The set of these paths."""
    tree: Tree = {}
    for path in found:
        single: Tree = LEAF
        for element in reversed(path):
            single = {element: single}
        tree = union(tree, single)
    return tree


def is_valid(tree: Any, depth: int = 0) -> bool:
    """Whether this, from a client, is a tree: elements that can be read, not too deep."""
    if not isinstance(tree, dict) or depth > MAX_DEPTH:
        return False
    return all(
        (element == SELF and depth and node == LEAF)
        or (element != SELF and elements.is_valid(element) and is_valid(node, depth + 1))
        for element, node in tree.items()
    )
