"""What an expression may cost at least and at most, before it runs (cel-go's checker/cost.go).

Sizes come from the types: a schema's maxLength, maxItems and maxProperties. What has no limit of
its own is limited by the size of a request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.machinery.cel import comprehensions as steps
from cluster.machinery.cel.ast import (
    Call,
    Comprehension,
    Constant,
    Ident,
    ListNode,
    MapNode,
    Node,
    Select,
)
from cluster.machinery.cel.checker import Checked
from cluster.machinery.cel.functions import Overload
from cluster.machinery.cel.program import CALL_COST, LIST_COST, MAP_COST, STRUCT_COST
from cluster.machinery.cel.types import Type
from cluster.machinery.cel.values import size_of

MAX_REQUEST_BYTES = 3 * 1024 * 1024
MAX_COST = float(2**64 - 1)
_SIZED = ("string", "bytes", "list", "map", "dyn")


@dataclass(frozen=True, slots=True)
class Range:
    """At least and at most."""

    least: float
    most: float

    def __add__(self, other: Range) -> Range:
        return Range(self.least + other.least, min(self.most + other.most, MAX_COST))

    def times(self, count: Range) -> Range:
        return Range(self.least * count.least, min(self.most * count.most, MAX_COST))


ZERO = Range(0, 0)


def estimate(checked: Checked) -> Range:
    """The cost of a checked expression."""
    return _Estimator(checked).cost(checked.root)


def _exactly(units: float) -> Range:
    return Range(units, units)


class _Estimator:
    def __init__(self, checked: Checked) -> None:
        self.checked = checked

    def cost(self, node: Node) -> Range:
        if node in self.checked.constants:
            return ZERO
        if node in self.checked.names:
            return _exactly(self.checked.names[node].count(".") + 1)
        match node:
            case Constant():
                return ZERO
            case Select():
                return self.cost(node.operand) + _exactly(0 if node.test else 1)
            case Call():
                return self.call(node)
            case ListNode():
                return self.all(node) + _exactly(LIST_COST)
            case MapNode():
                return self.all(node) + _exactly(STRUCT_COST if node.type_name else MAP_COST)
            case Comprehension():
                return self.comprehension(node)
        raise AssertionError(node)

    def all(self, node: Node) -> Range:
        total = ZERO
        for child in node.children():
            total += self.cost(child)
        return total

    def call(self, node: Call) -> Range:
        if node.function in ("_&&_", "_||_"):
            costs = [self.cost(arg) for arg in node.args]
            return Range(costs[0].least, min(sum(c.most for c in costs), MAX_COST))
        if node.function == "_?_:_":
            test, chosen, other = (self.cost(arg) for arg in node.args)
            least, most = min(chosen.least, other.least), max(chosen.most, other.most)
            return test + Range(least, most)
        args, total = self.arguments(node), ZERO
        for arg in args:
            total += self.cost(arg)
        sizes = [self.size(arg) for arg in args]
        costs = [_own_cost(o, sizes) for o in self.checked.functions.get(node, ())]
        if not costs:
            return total + _exactly(CALL_COST)
        return total + Range(min(c.least for c in costs), max(c.most for c in costs))

    def arguments(self, node: Call) -> list[Node]:
        namespaced = node in self.checked.namespaced
        return [*([node.target] if node.target is not None and not namespaced else []), *node.args]

    def comprehension(self, node: Comprehension) -> Range:
        over = self.cost(node.range)
        if node.kind in ("optMap", "optFlatMap"):
            return over + Range(0, self.cost(node.body).most) + _exactly(steps.OPTIONAL)
        step = self.cost(node.body)
        if node.condition is not None:
            test = self.cost(node.condition)
            step = Range(test.least, test.most + step.most)
        own = _STEPS[node.kind]
        step = step + Range(min(own, steps.SKIP_STEP), own)
        start = _STARTS.get(node.kind, 0) + steps.RESULT
        return over + step.times(self.size(node.range)) + _exactly(start)

    # -- sizes -------------------------------------------------------------------------------

    def size(self, node: Node) -> Range:
        """Of the value: characters, items or pairs; 1 for all that is not traversed."""
        if isinstance(node, Constant):
            return _exactly(size_of(node.value))
        if isinstance(node, ListNode) and not node.optional:
            return _exactly(len(node.items))
        if isinstance(node, Call):
            known = self.size_of_call(node)
            if known is not None:
                return known
        declared = self.checked.types[node]
        return size_of_declared(declared) if self.is_read(node) else size_of_type(declared)

    def is_read(self, node: Node) -> bool:
        """Whether it is a place in an object; upstream follows no fields of maps."""
        if isinstance(node, Select):
            of_map = node not in self.checked.names and (
                self.checked.types[node.operand].name == "map"
            )
            return not of_map
        return isinstance(node, Ident) or (isinstance(node, Call) and node.function == "_[_]")

    def size_of_call(self, node: Call) -> Range | None:
        if node.function == "_?_:_":
            chosen, other = self.size(node.args[1]), self.size(node.args[2])
            return Range(min(chosen.least, other.least), max(chosen.most, other.most))
        overloads = self.checked.functions.get(node, ())
        if not overloads or any(o.size is None for o in overloads):
            return None
        sizes = [self.size(arg) for arg in self.arguments(node)]
        most = max(o.size([s.most for s in sizes]) for o in overloads if o.size is not None)
        return Range(0, most)


def size_of_type(what: Type) -> Range:
    """Of a value that is computed."""
    if what.name not in _SIZED:
        return _exactly(1)
    return Range(0, MAX_REQUEST_BYTES if what.max_size is None else what.max_size)


def size_of_declared(what: Type) -> Range:
    """Of a value that is read from an object: upstream counts its declared size, 0 for scalars."""
    if what.name in _SIZED:
        return size_of_type(what)
    return Range(0, what.max_size or 0)


def _own_cost(overload: Overload, sizes: Sequence[Range]) -> Range:
    if overload.cost is None:
        return _exactly(CALL_COST)
    least = math.ceil(overload.cost([s.least for s in sizes]))
    most = math.ceil(min(overload.cost([s.most for s in sizes]), MAX_COST))
    return Range(least, most)


_STEPS: dict[str, int] = {
    "all": steps.ALL_STEP,
    "exists": steps.EXISTS_STEP,
    "exists_one": steps.COUNT_STEP,
    "filter": steps.APPEND_STEP + 1,
    "map": steps.APPEND_STEP,
    "transformList": steps.APPEND_STEP,
    "transformMap": steps.INSERT_STEP,
    "transformMapEntry": steps.INSERT_STEP,
}
_STARTS: dict[str, int] = {
    "exists_one": 1,
    "filter": steps.LIST,
    "map": steps.LIST,
    "transformList": steps.LIST,
    "transformMap": steps.MAP,
    "transformMapEntry": steps.MAP,
}
