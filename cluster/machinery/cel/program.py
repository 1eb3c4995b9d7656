"""Running a checked expression: closures over the tree, which count what they cost.

The units are those of cel-go's cost tracker, so that limits mean here what they mean there. One
thing costs more: joining lists costs by their length, for here it takes time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cluster.machinery.cel import ast
from cluster.machinery.cel.ast import Call, Comprehension, Constant, Ident, ListNode, MapNode, Node
from cluster.machinery.cel.ast import Select as SelectNode
from cluster.machinery.cel.brief import COST, Lengthy, limited
from cluster.machinery.cel.checker import Checked
from cluster.machinery.cel.comprehensions import compile_comprehension
from cluster.machinery.cel.errors import CostExceeded, EvaluationError
from cluster.machinery.cel.functions import Overload, accepts
from cluster.machinery.cel.types import Type
from cluster.machinery.cel.values import (
    NONE,
    OptionalValue,
    Struct,
    size_of,
    to_key,
    type_name,
)

IDENT_COST = SELECT_COST = CALL_COST = 1
LIST_COST, MAP_COST, STRUCT_COST = 10, 30, 40
NO_OVERLOAD = "no such overload"


class Meter:
    """What may still be spent. One meter may serve several evaluations: a shared budget.

    Within `brief()` it is no more than something brief may cost.
    """

    __slots__ = ("_exceeded", "left", "limit")

    def __init__(self, limit: float = math.inf) -> None:
        self._exceeded: type[Exception] = CostExceeded
        if limited():
            limit, self._exceeded = min(limit, COST), Lengthy
        self.limit = self.left = limit

    @property
    def spent(self) -> float:
        return self.limit - self.left

    def charge(self, units: float) -> None:
        """Raises CostExceeded once nothing is left; Lengthy where it must be brief."""
        self.left -= units
        if self.left < 0:
            raise self._exceeded


class State:
    """One evaluation: the variables in scope, and the meter."""

    __slots__ = ("charge", "scope")

    def __init__(self, scope: dict[str, Any], meter: Meter) -> None:
        self.scope, self.charge = scope, meter.charge


Eval = Callable[[State], Any]


class Program:
    """A compiled expression."""

    def __init__(self, checked: Checked, source: str) -> None:
        self.source, self.checked = source, checked
        self._run = Compiler(checked).compile(checked.root)

    @property
    def result_type(self) -> Type:
        return self.checked.result

    def evaluate(self, variables: Mapping[str, Any], meter: Meter | None = None) -> Any:
        """The value. Raises EvaluationError, or CostExceeded when the meter runs out."""
        state = State(dict(variables), meter or Meter())
        try:
            return self._run(state)
        except RecursionError:
            raise EvaluationError("expression recursion limit exceeded") from None
        except (OverflowError, MemoryError) as error:
            raise EvaluationError(f"the value is too large: {error}") from None

    def uses(self, name: str) -> bool:
        """Whether the expression refers to a variable."""
        return name in self.checked.names.values()


class Compiler:
    """One closure a node."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked

    def compile(self, node: Node) -> Eval:
        if node in self.checked.constants:
            constant = self.checked.constants[node]
            return lambda state: constant
        if node in self.checked.names:
            return _variable(self.checked.names[node], _steps(node))
        match node:
            case Constant():
                value = node.value
                return lambda state: value
            case SelectNode():
                return self.select(node)
            case Call():
                return self.call(node)
            case ListNode():
                return self.list_(node)
            case MapNode():
                return self.struct(node) if node.type_name else self.map_(node)
            case Comprehension():
                return compile_comprehension(node, self.compile)
        raise AssertionError(node)

    def select(self, node: SelectNode) -> Eval:
        operand, name = self.compile(node.operand), node.field
        if node.test:
            return lambda state: _has(operand(state), name)

        if node.optional:

            def optional(state: State) -> Any:
                state.charge(SELECT_COST)
                return _select_optional(operand(state), name)

            return optional

        def select(state: State) -> Any:
            found = operand(state)
            state.charge(SELECT_COST)
            if isinstance(found, dict):
                if name in found:
                    return found[name]
                raise EvaluationError(f"no such key: {name}")
            if isinstance(found, OptionalValue):
                return _select_optional(found, name)
            raise EvaluationError(NO_OVERLOAD)

        return select

    # -- calls -------------------------------------------------------------------------------

    def call(self, node: Call) -> Eval:
        args = [self.compile(arg) for arg in node.args]
        if node.function == "_&&_":
            return _logical(args, decisive=False)
        if node.function == "_||_":
            return _logical(args, decisive=True)
        if node.function == "_?_:_":
            return _conditional(*args)
        if node.target is not None and node not in self.checked.namespaced:
            target = self.compile(node.target)
            if node.function in ("or", "orValue") and len(args) == 1:
                return _otherwise(node.function, target, args[0])
            args.insert(0, target)
        forms = [_Form(overload) for overload in self.checked.functions[node]]
        return _dispatch(forms, args)

    # -- literals ----------------------------------------------------------------------------

    def list_(self, node: ListNode) -> Eval:
        items = [(self.compile(item), at in node.optional) for at, item in enumerate(node.items)]

        def make(state: State) -> Any:
            state.charge(LIST_COST)
            found: list[Any] = []
            for item, optional in items:
                value = item(state)
                if not optional:
                    found.append(value)
                elif _present(value):
                    found.append(value.value)
            return found

        return make

    def map_(self, node: MapNode) -> Eval:
        entries = [(self.compile(e.key), self.compile(e.value), e.optional) for e in node.entries]

        def make(state: State) -> Any:
            state.charge(MAP_COST)
            found: dict[Any, Any] = {}
            for key, value, optional in entries:
                name = key(state)
                if isinstance(name, float) or name is None:
                    raise EvaluationError(f"unsupported key type: {type_name(name)}")
                place = to_key(name)
                if place in found:
                    raise EvaluationError(f"Failed with repeated key: {name}")
                item = value(state)
                if not optional:
                    found[place] = item
                elif _present(item):
                    found[place] = item.value
            return found

        return make

    def struct(self, node: MapNode) -> Eval:
        entries: list[tuple[str, Eval, bool]] = []
        for entry in node.entries:
            assert isinstance(entry.key, Constant)
            entries.append((entry.key.value, self.compile(entry.value), entry.optional))
        name = node.type_name.removeprefix(".")

        def make(state: State) -> Any:
            state.charge(STRUCT_COST)
            found = Struct()
            found.type_name = name
            for field, value, optional in entries:
                item = value(state)
                if not optional:
                    found[field] = item
                elif _present(item):
                    found[field] = item.value
            return found

        return make


def _steps(node: Node) -> int:
    """How many names a path has: a qualified variable costs one for each."""
    count = 1
    while isinstance(node, ast.Select):
        count, node = count + 1, node.operand
    assert isinstance(node, Ident)
    return count


def _variable(name: str, steps: int) -> Eval:
    def read(state: State) -> Any:
        state.charge(IDENT_COST * steps)
        try:
            value = state.scope[name]
        except KeyError:
            raise EvaluationError(f"no such attribute(s): {name}") from None
        if isinstance(value, Lazy):
            value = state.scope[name] = value(state)
        return value

    return read


class Lazy:
    """A variable whose value is computed when it is first asked for, and costs then."""

    __slots__ = ("_program",)

    def __init__(self, program: Program) -> None:
        self._program = program

    def __call__(self, state: State) -> Any:
        return self._program._run(state)


def _present(value: Any) -> bool:
    if not isinstance(value, OptionalValue):
        raise EvaluationError(NO_OVERLOAD)
    return value.present


def _has(found: Any, name: str) -> bool:
    if isinstance(found, OptionalValue):
        return found.present and _has(found.value, name)
    if not isinstance(found, dict):
        raise EvaluationError(NO_OVERLOAD)
    return name in found


def _select_optional(found: Any, name: str) -> OptionalValue:
    if isinstance(found, OptionalValue):
        return _select_optional(found.value, name) if found.present else NONE
    if not isinstance(found, dict):
        raise EvaluationError(NO_OVERLOAD)
    return OptionalValue(found[name], True) if name in found else NONE


def _logical(args: Sequence[Eval], decisive: bool) -> Eval:
    """An error counts only if no other argument decides, whatever their order."""

    def run(state: State) -> Any:
        failure: EvaluationError | None = None
        for arg in args:
            try:
                value = arg(state)
            except EvaluationError as error:
                failure = failure or error
                continue
            if value is decisive:
                return decisive
            if not isinstance(value, bool):
                failure = failure or EvaluationError(NO_OVERLOAD)
        if failure is not None:
            raise failure
        return not decisive

    return run


def _conditional(test: Eval, chosen: Eval, other: Eval) -> Eval:
    def run(state: State) -> Any:
        value = test(state)
        if value is True:
            return chosen(state)
        if value is False:
            return other(state)
        raise EvaluationError(NO_OVERLOAD)

    return run


def _otherwise(function: str, target: Eval, other: Eval) -> Eval:
    """`or` and `orValue` look at their argument only where there is no value."""

    def run(state: State) -> Any:
        found = target(state)
        state.charge(CALL_COST)
        if not isinstance(found, OptionalValue):
            raise EvaluationError(NO_OVERLOAD)
        if not found.present:
            return other(state)
        return found.value if function == "orValue" else found

    return run


class _Form:
    """An overload, ready to be tried."""

    __slots__ = ("call", "cost", "tests")

    def __init__(self, overload: Overload) -> None:
        self.call, self.cost = overload.call, overload.cost
        tests = enumerate(map(accepts, overload.params))
        self.tests = [(at, test) for at, test in tests if test is not None]

    def fits(self, values: Sequence[Any]) -> bool:
        return all(test(values[at]) for at, test in self.tests)


def _dispatch(forms: Sequence[_Form], args: Sequence[Eval]) -> Eval:
    """The first overload that takes the values; costs are paid before it runs."""

    def run(state: State) -> Any:
        values = [arg(state) for arg in args]
        for form in forms:
            if not form.fits(values):
                continue
            if form.cost is None:
                state.charge(CALL_COST)
            else:
                units = form.cost([size_of(value) for value in values])
                state.charge(math.ceil(units))
            return form.call(*values)
        raise EvaluationError(NO_OVERLOAD)

    return run
