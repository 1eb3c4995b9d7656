"""x-kubernetes-validations at work: rules over an object, and over its change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cluster.machinery.cel import CelError, CostExceeded, Meter
from cluster.machinery.cel.values import NONE, OptionalValue
from cluster.machinery.status import Cause
from cluster.machinery.structural.cel_types import value_of
from cluster.machinery.structural.rule_schemas import Rule, compile_rules
from cluster.machinery.structural.schema import Structural, join
from cluster.machinery.structural.values import ABSENT, by_keys, key_of
from cluster.machinery.validation.field import Errors

CALL_BUDGET = 1_000_000.0
"""Of one evaluation of one rule."""
OBJECT_BUDGET = 10_000_000.0
"""Of all rules on one object."""
BLOCKING = ("FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid")
"""An object with such errors is not what the rules' types say."""
NOT_CHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation"
)
OUT_OF_BUDGET = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)


@dataclass(slots=True)
class _Node:
    """A schema with its compiled rules, and those below that have any."""

    structural: Structural
    rules: list[Rule]
    properties: dict[str, _Node] = field(default_factory=dict)
    items: _Node | None = None
    additional: _Node | None = None


class _Spent(Exception):
    """The budget has run out."""


class Rules:
    """The compiled rules of a schema."""

    def __init__(self, structural: Structural) -> None:
        self._root = _compile(structural) if structural.has_rules else None

    def validate(self, new: Any, old: Any, errors: Errors) -> None:
        """Append a cause for each rule that does not hold; `old`: ABSENT for a new object."""
        if self._root is None:
            return
        if any(cause.reason in BLOCKING for cause in errors):
            errors.append(
                Cause("FieldValueInvalid", f"Invalid value: null: {NOT_CHECKED}", "<nil>")
            )
            return
        run = _Run(errors, Meter(OBJECT_BUDGET))
        try:
            run.visit(new, old, self._root, "")
        except _Spent:
            return


def _compile(node: Structural) -> _Node:
    found = _Node(node, compile_rules(node))
    found.properties = {n: _compile(c) for n, c in node.properties.items() if c.has_rules}
    if node.items is not None and node.items.has_rules:
        found.items = _compile(node.items)
    if node.additional is not None and node.additional.has_rules:
        found.additional = _compile(node.additional)
    return found


@dataclass(slots=True)
class _Run:
    errors: Errors
    budget: Meter

    def visit(self, new: Any, old: Any, node: _Node, path: str) -> None:
        if new is None:
            return
        if node.rules:
            self.rules(new, old, node, path)
        for item, before, child, place in _below(new, old, node, path):
            self.visit(item, before, child, place)

    def rules(self, new: Any, old: Any, node: _Node, path: str) -> None:
        """What has not changed is judged by its transition rules only."""
        unchanged = old is not ABSENT and new == old
        value = value_of(new, node.structural)
        before = ABSENT if old is ABSENT else value_of(old, node.structural)
        for rule in node.rules:
            transition = rule.uses_old
            if unchanged and not transition:
                continue
            variables = {"self": value}
            if rule.optional_old:
                variables["oldSelf"] = NONE if before is ABSENT else OptionalValue(before, True)
            elif before is not ABSENT:
                variables["oldSelf"] = before
            elif transition:
                continue
            self.rule(rule, variables, new, node.structural, path)

    def rule(
        self, rule: Rule, variables: dict[str, Any], new: Any, schema: Structural, path: str
    ) -> None:
        text = (rule.raw.get("message") or rule.raw["rule"]).strip()
        meter = Meter(min(CALL_BUDGET, max(self.budget.left, 0)))
        try:
            holds = rule.program.evaluate(variables, meter)
        except CostExceeded as error:
            self.stop(path, schema, error, text)
        except CelError as error:
            self.spend(meter, path, schema)
            self.errors.invalid(path, schema.type, _failure(error, text))
        else:
            self.spend(meter, path, schema)
            if holds is not True:
                detail = self.message(rule, variables)
                self.report(rule, new, schema, _place(path, rule.field), detail)

    def stop(self, path: str, schema: Structural, error: CostExceeded, text: str) -> None:
        if self.budget.left < CALL_BUDGET:
            self.errors.invalid(path, schema.type, OUT_OF_BUDGET)
        else:
            why = "no further validation rules will be run due to call cost exceeds limit for rule"
            self.errors.invalid(path, schema.type, f"'{error}': {why}: {text}")
        raise _Spent

    def spend(self, meter: Meter, path: str, schema: Structural) -> None:
        try:
            self.budget.charge(meter.spent)
        except CostExceeded:
            self.errors.invalid(path, schema.type, OUT_OF_BUDGET)
            raise _Spent from None

    def message(self, rule: Rule, variables: dict[str, Any]) -> str:
        """By the messageExpression where it gives a usable text."""
        usual = (rule.raw.get("message") or "").strip()
        usual = usual or f"failed rule: {rule.raw['rule'].strip()}"
        if rule.message is None:
            return usual
        meter = Meter(min(CALL_BUDGET, max(self.budget.left, 0)))
        try:
            found = rule.message.evaluate(variables, meter)
        except CelError:
            return usual
        finally:
            self.budget.left -= min(meter.spent, CALL_BUDGET)
        text = found.strip() if isinstance(found, str) else ""
        return text if text and "\n" not in text else usual

    def report(self, rule: Rule, new: Any, schema: Structural, path: str, detail: str) -> None:
        reason = rule.raw.get("reason") or "FieldValueInvalid"
        whole = schema.type in ("object", "array")
        if reason == "FieldValueRequired":
            self.errors.required(path, detail)
        elif reason == "FieldValueForbidden":
            self.errors.forbidden(path, detail)
        elif reason == "FieldValueDuplicate":
            self.errors.duplicate(path, schema.type if whole else new)
        elif whole:
            self.errors.append(Cause(reason, f"Invalid value: {detail}", path))
        else:
            self.errors.invalid(path, new, detail)


def _place(path: str, below: str) -> str:
    return join(path, below) if below else path


def _failure(error: CelError, text: str) -> str:
    if str(error).startswith("no such overload"):
        why = "call arguments did not match a supported operator, function or macro signature"
        return f"'{error}': {why} for rule: {text}"
    return f"{error} evaluating rule: {text}"


def _below(new: Any, old: Any, node: _Node, path: str) -> Iterator[tuple[Any, Any, _Node, str]]:
    """What stands below and has rules, each with what it was before, where that is known."""
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        for name, item in new.items():
            child = node.properties.get(name)
            place = join(path, name)
            if child is None and name not in node.structural.properties:
                child, place = node.additional, f"{path}[{name}]"
            if child is not None:
                yield item, before.get(name, ABSENT), child, place
    elif isinstance(new, list) and node.items is not None:
        known: dict[bytes, Any] = {}
        if node.structural.list_type == "map" and isinstance(old, list):
            known = by_keys(old, node.structural)
        for at, item in enumerate(new):
            earlier = known.get(key_of(item, node.structural), ABSENT) if known else ABSENT
            yield item, earlier, node.items, f"{path}[{at}]"
