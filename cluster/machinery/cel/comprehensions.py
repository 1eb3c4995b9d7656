"""Running macros over ranges. Costs a step are those of the folds that cel-go expands them to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cluster.machinery.cel.ast import Comprehension, Node
from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.values import NONE, OptionalValue, keys_of, to_key

ALL_STEP, EXISTS_STEP, COUNT_STEP, SKIP_STEP, APPEND_STEP, INSERT_STEP = 3, 4, 2, 1, 12, 3
RESULT = 1
LIST, MAP, OPTIONAL = 10, 30, 3
NO_OVERLOAD = "no such overload"
_ABSENT: Any = object()

Eval = Callable[[Any], Any]
Step = Callable[[Any], Any]


def compile_comprehension(node: Comprehension, compile_: Callable[[Node], Eval]) -> Eval:
    """The closure of a macro; `compile_` makes those of its parts."""
    over, body = compile_(node.range), compile_(node.body)
    condition = compile_(node.condition) if node.condition is not None else None
    if node.kind in ("optMap", "optFlatMap"):
        return _optional(node, over, body)
    loop = _LOOPS[node.kind]
    names = node.names

    def run(state: Any) -> Any:
        items = _items(over(state), len(names))
        scope = state.scope
        saved = [scope.get(name, _ABSENT) for name in names]
        try:
            return loop(state, _bound(scope, names, items), body, condition)
        finally:
            for name, value in zip(names, saved, strict=True):
                if value is _ABSENT:
                    scope.pop(name, None)
                else:
                    scope[name] = value

    return run


def _items(found: Any, count: int) -> Iterable[tuple[Any, ...]]:
    """What the variables become: an item or key, or an index or key and its value."""
    if isinstance(found, list):
        return ((item,) for item in found) if count == 1 else enumerate(found)
    if isinstance(found, dict):
        if count == 1:
            return ((key,) for key in keys_of(found))
        return ((key, found[to_key(key)]) for key in keys_of(found))
    raise EvaluationError(NO_OVERLOAD)


def _bound(
    scope: dict[str, Any], names: tuple[str, ...], items: Iterable[tuple[Any, ...]]
) -> Iterable[tuple[Any, ...]]:
    for values in items:
        for name, value in zip(names, values, strict=True):
            scope[name] = value
        yield values


def _quantifier(decisive: bool, cost: int) -> Any:
    """Errors count only if no item decides."""

    def loop(state: Any, items: Any, body: Eval, condition: Eval | None) -> Any:
        failure: EvaluationError | None = None
        for _ in items:
            state.charge(cost)
            try:
                value = body(state)
            except EvaluationError as error:
                failure = failure or error
                continue
            if value is decisive:
                state.charge(RESULT)
                return decisive
            if not isinstance(value, bool):
                failure = failure or EvaluationError(NO_OVERLOAD)
        state.charge(RESULT)
        if failure is not None:
            raise failure
        return not decisive

    return loop


def _holds(state: Any, test: Eval | None) -> bool:
    value = True if test is None else test(state)
    if not isinstance(value, bool):
        raise EvaluationError(NO_OVERLOAD)
    if not value:
        state.charge(SKIP_STEP)
    return value


def _exists_one(state: Any, items: Any, body: Eval, condition: Eval | None) -> bool:
    count = 0
    for _ in items:
        if _holds(state, body):
            state.charge(COUNT_STEP)
            count += 1
    state.charge(RESULT + 1)
    return count == 1


def _filter(state: Any, items: Any, body: Eval, condition: Eval | None) -> list[Any]:
    state.charge(LIST)
    found = []
    for values in items:
        if _holds(state, body):
            state.charge(APPEND_STEP + 1)
            found.append(values[0])
    state.charge(RESULT)
    return found


def _map(state: Any, items: Any, body: Eval, condition: Eval | None) -> list[Any]:
    state.charge(LIST)
    found = []
    for _ in items:
        if _holds(state, condition):
            state.charge(APPEND_STEP)
            found.append(body(state))
    state.charge(RESULT)
    return found


def _transform_map(state: Any, items: Any, body: Eval, condition: Eval | None) -> dict[Any, Any]:
    state.charge(MAP)
    found = {}
    for values in items:
        if _holds(state, condition):
            state.charge(INSERT_STEP)
            found[to_key(values[0])] = body(state)
    state.charge(RESULT)
    return found


def _transform_entries(
    state: Any, items: Any, body: Eval, condition: Eval | None
) -> dict[Any, Any]:
    state.charge(MAP)
    found: dict[Any, Any] = {}
    for _ in items:
        if not _holds(state, condition):
            continue
        state.charge(INSERT_STEP)
        entry = body(state)
        if not isinstance(entry, dict):
            raise EvaluationError(NO_OVERLOAD)
        for key in entry:
            if key in found:
                raise EvaluationError(f"insert failed: key {key} already exists")
        found.update(entry)
    state.charge(RESULT)
    return found


def _optional(node: Comprehension, over: Eval, body: Eval) -> Eval:
    name, flat = node.names[0], node.kind == "optFlatMap"

    def run(state: Any) -> Any:
        found = over(state)
        state.charge(OPTIONAL)
        if not isinstance(found, OptionalValue):
            raise EvaluationError(NO_OVERLOAD)
        if not found.present:
            return NONE
        saved = state.scope.get(name, _ABSENT)
        state.scope[name] = found.value
        try:
            value = body(state)
        finally:
            if saved is _ABSENT:
                state.scope.pop(name, None)
            else:
                state.scope[name] = saved
        return value if flat else OptionalValue(value, True)

    return run


_LOOPS: dict[str, Any] = {
    "all": _quantifier(False, ALL_STEP),
    "exists": _quantifier(True, EXISTS_STEP),
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
    "transformList": _map,
    "transformMap": _transform_map,
    "transformMapEntry": _transform_entries,
}
