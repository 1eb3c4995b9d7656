"""The syntax tree. Nodes are compared by identity; `position` counts code points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

MAX_DEPTH = 200
"""Of nodes in each other: what walks the tree recurses."""

Kind = Literal[
    "all", "exists", "exists_one", "map", "filter", "transformList", "transformMap",
    "transformMapEntry", "optMap", "optFlatMap",
]  # fmt: skip


@dataclass(eq=False, slots=True)
class Node:
    """Anything that has a value."""

    position: int

    def children(self) -> Iterator[Node]:
        """The nodes directly below."""
        return iter(())


@dataclass(eq=False, slots=True)
class Constant(Node):
    """A literal; `value` is a CEL value."""

    value: Any


@dataclass(eq=False, slots=True)
class Ident(Node):
    """A variable, a type, or the first part of a qualified name."""

    name: str


@dataclass(eq=False, slots=True)
class Select(Node):
    """`operand.field`; with `test`, `has(operand.field)`; with `optional`, `operand.?field`."""

    operand: Node
    field: str
    test: bool = False
    optional: bool = False

    def children(self) -> Iterator[Node]:
        yield self.operand


@dataclass(eq=False, slots=True)
class Call(Node):
    """`target.function(args)` or `function(args)`; operators are calls of `_+_` and the like.

    Chains of `&&` and of `||` are one call each, so that they may be long.
    """

    function: str
    args: tuple[Node, ...]
    target: Node | None = None

    def children(self) -> Iterator[Node]:
        if self.target is not None:
            yield self.target
        yield from self.args


@dataclass(eq=False, slots=True)
class ListNode(Node):
    """`[a, ?b]`; `optional` holds the places of items that may be absent."""

    items: tuple[Node, ...]
    optional: frozenset[int] = frozenset()

    def children(self) -> Iterator[Node]:
        return iter(self.items)


@dataclass(eq=False, slots=True)
class Entry:
    """One pair of a map; of a struct `key` is a Constant with the field's name."""

    key: Node
    value: Node
    optional: bool = False


@dataclass(eq=False, slots=True)
class MapNode(Node):
    """`{a: b}`, or `Name{a: b}` if it has a `type_name`."""

    entries: tuple[Entry, ...]
    type_name: str = ""

    def children(self) -> Iterator[Node]:
        for entry in self.entries:
            if not self.type_name:
                yield entry.key
            yield entry.value


@dataclass(eq=False, slots=True)
class Comprehension(Node):
    """A macro over a range: `range.kind(names..., [condition,] body)`.

    `condition` is the filter of a three-argument map or transform, and is None elsewhere.
    """

    kind: Kind
    range: Node
    names: tuple[str, ...]
    body: Node
    condition: Node | None = None

    def children(self) -> Iterator[Node]:
        yield self.range
        if self.condition is not None:
            yield self.condition
        yield self.body


def depth(node: Node) -> int:
    """How many nodes stand in each other; does not recurse itself."""
    level, count = [node], 0
    while level:
        count += 1
        level = [child for parent in level for child in parent.children()]
    return count
