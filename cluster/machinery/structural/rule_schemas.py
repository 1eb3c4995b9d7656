"""x-kubernetes-validations of a schema: whether the rules compile, and what they cost at most."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster.machinery.cel import CompileError, Environment, Program
from cluster.machinery.cel.estimate import MAX_COST, MAX_REQUEST_BYTES, estimate
from cluster.machinery.cel.types import Type, optional_of
from cluster.machinery.structural.cel_types import least_bytes, max_items, type_of
from cluster.machinery.structural.schema import Raw, Structural, join
from cluster.machinery.validation.field import Errors

MAX_RULE_COST = 10_000_000.0
MAX_SCHEMA_COST = 100_000_000.0
REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
HINT = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
    "maps, and strings are declared)"
)
_FIELD_PATH = re.compile(r"(?:\.([A-Za-z_][A-Za-z0-9_]*)|\['((?:[^'\\]|\\.)*)'\])")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, compiled. `field` is where its errors are reported, relative to the node."""

    raw: Raw
    program: Program
    message: Program | None
    field: str
    optional_old: bool

    @property
    def uses_old(self) -> bool:
        """A transition rule: it is about a change."""
        programs = [self.program, *([self.message] if self.message is not None else [])]
        return any(program.uses("oldSelf") for program in programs)


def compile_rules(node: Structural) -> list[Rule]:
    """The rules of one node of a schema that has passed `check`."""
    return [_compile(raw, node) for raw in node.rules]


def _compile(raw: Raw, node: Structural) -> Rule:
    environment = _environment(raw, node)
    message = raw.get("messageExpression")
    return Rule(
        raw,
        environment.compile(raw["rule"]),
        environment.compile(message) if message else None,
        field_path(raw.get("fieldPath") or "", node) or "",
        bool(raw.get("optionalOldSelf")),
    )


def _environment(raw: Raw, node: Structural) -> Environment:
    own = type_of(node)
    assert own is not None
    old = optional_of(own) if raw.get("optionalOldSelf") else own
    return Environment({"self": own, "oldSelf": old})


def field_path(text: str, node: Structural) -> str | None:
    """The path of an existing field below a node, as field paths are written; None if invalid."""
    found, at = "", 0
    while at < len(text):
        match = _FIELD_PATH.match(text, at)
        if match is None:
            return None
        name = match[1] or re.sub(r"\\(.)", r"\1", match[2] or "")
        at = match.end()
        child = node.properties.get(name)
        if child is None and node.additional is not None:
            found, node = f"{found}[{name}]", node.additional
        elif child is None:
            return None
        else:
            found, node = join(found, name), child
    return found


# -- checking ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Spent:
    """What the rules of a whole schema may cost, with the costliest and where they stand."""

    total: float = 0.0
    parts: list[tuple[float, str]] | None = None

    def add(self, cost: float, path: str) -> None:
        self.total = min(self.total + cost, MAX_COST)
        self.parts = [*(self.parts or []), (cost, path)]


def check(node: Structural, path: str, errors: Errors) -> None:
    """Append every cause against rules anywhere in a schema at `path`."""
    spent = _Spent()
    _check(node, path, errors, 1.0, True, spent)
    if spent.total <= MAX_SCHEMA_COST:
        return
    for cost, place in sorted(spent.parts or [], reverse=True)[:3]:
        if cost > MAX_SCHEMA_COST / 100:
            about = "contributed to estimated rule & messageExpression cost total exceeding cost "
            errors.forbidden(place, f"{about}limit for entire OpenAPIv3 schema")
    about = "x-kubernetes-validations estimated rule & messageExpression cost total for entire "
    errors.forbidden(path, too_costly(f"{about}OpenAPIv3 schema", spent.total, MAX_SCHEMA_COST))


def _check(
    node: Structural, path: str, errors: Errors, count: float, correlatable: bool, spent: _Spent
) -> None:
    """`count`: how often the node may occur in an object."""
    if not node.has_rules:
        return
    for at, raw in enumerate(node.rules):
        place = f"{path}.x-kubernetes-validations[{at}]"
        _check_rule(raw, node, place, errors, count, correlatable, spent)
    for child, inner, times, known in _below(node, path, count, correlatable):
        _check(child, inner, errors, times, known, spent)


def _below(
    node: Structural, path: str, count: float, correlatable: bool
) -> Iterator[tuple[Structural, str, float, bool]]:
    for name, child in node.properties.items():
        yield child, f"{path}.properties[{name}]", count, correlatable
    word = "items" if node.items is not None else "additionalProperties"
    inner = node.items if node.items is not None else node.additional
    if inner is None:
        return
    limit = float(MAX_REQUEST_BYTES) / (least_bytes(inner) + 1)
    times = min(count * max_items(node), max(limit, 1.0))
    known = correlatable and (word != "items" or node.list_type == "map")
    yield inner, f"{path}.{word}", times, known


def _check_rule(
    raw: Raw,
    node: Structural,
    path: str,
    errors: Errors,
    count: float,
    correlatable: bool,
    spent: _Spent,
) -> None:
    before = len(errors)
    _texts(raw, node, path, errors)
    if type_of(node) is None:
        text = "rules are not supported where the schema does not say what there is"
        errors.invalid(f"{path}.rule", raw.get("rule") or "", text)
    if len(errors) > before:
        return
    environment = _environment(raw, node)
    cost = 0.0
    for name, wanted, wrong in (
        ("rule", "bool", "cel expression must evaluate to a bool"),
        ("messageExpression", "string", "messageExpression must evaluate to a string"),
    ):
        if not raw.get(name):
            continue
        place = f"{path}.{name}"
        program = _program(environment, raw, name, place, errors)
        if program is None:
            continue
        if not _is(program.result_type, wanted):
            errors.append_invalid(place, go_rule(raw), wrong)
        if program.uses("oldSelf") and not correlatable:
            text = "oldSelf cannot be used on the uncorrelatable portion of the schema"
            errors.append_invalid(place, go_rule(raw), text)
        own = min(estimate(program.checked).most * count, MAX_COST)
        cost += own
        if own > MAX_RULE_COST:
            about = "estimated rule cost" if name == "rule" else "estimated messageExpression cost"
            errors.forbidden(place, too_costly(about, own, MAX_RULE_COST))
    spent.add(cost, f"{path}.rule")


def _is(found: Type, wanted: str) -> bool:
    return found.name == wanted


def _program(
    environment: Environment, raw: Raw, name: str, path: str, errors: Errors
) -> Program | None:
    try:
        return environment.compile(raw[name])
    except CompileError as error:
        about = "" if name == "rule" else "messageExpression "
        errors.append_invalid(path, go_rule(raw), f"{about}compilation failed: {error}")
        return None


def _texts(raw: Raw, node: Structural, path: str, errors: Errors) -> None:
    rule, message = raw.get("rule") or "", raw.get("message")
    if not rule.strip():
        errors.required(f"{path}.rule", "rule is not specified")
    if message is not None and not message.strip():
        errors.invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif message and "\n" in message.strip():
        errors.invalid(f"{path}.message", message, "message must not contain line breaks")
    if "\n" in rule.strip() and not message and not raw.get("messageExpression"):
        text = "message must be specified if rule contains line breaks"
        errors.required(f"{path}.message", text)
    if raw.get("messageExpression") is not None and not raw["messageExpression"].strip():
        text = "messageExpression must be non-empty if specified"
        errors.required(f"{path}.messageExpression", text)
    reason = raw.get("reason")
    if reason is not None and reason not in REASONS:
        errors.not_supported(f"{path}.reason", reason, REASONS)
    where = raw.get("fieldPath")
    if where and field_path(where, node) is None:
        errors.invalid(f"{path}.fieldPath", where, "fieldPath must be a valid path: "
                       "does not refer to a valid field")  # fmt: skip


def too_costly(name: str, cost: float, limit: float) -> str:
    """Upstream's message."""
    factor = cost / limit
    shown = (
        "more than 100x" if factor > 100 else f"{factor:.6f}x" if factor < 1.5 else f"{factor:.1f}x"
    )
    return f"{name} exceeds budget by factor of {shown} {HINT}"


def go_rule(raw: Raw) -> str:
    """A rule as Go prints the struct that errors quote."""

    def text(name: str) -> str:
        return json.dumps(raw.get(name) or "", ensure_ascii=False)

    def pointer(name: str, kind: str) -> str:
        value: Any = raw.get(name)
        return f"(*{kind})(nil)" if value is None else f"(*{kind})({json.dumps(value)})"

    return (
        f"apiextensions.ValidationRule{{Rule:{text('rule')}, Message:{text('message')}, "
        f"MessageExpression:{text('messageExpression')}, "
        f"Reason:{pointer('reason', 'apiextensions.FieldValueErrorReason')}, "
        f"FieldPath:{text('fieldPath')}, OptionalOldSelf:{pointer('optionalOldSelf', 'bool')}}}"
    )
