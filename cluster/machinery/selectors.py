"""Label and field selectors: parsed once, matched often."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.machinery.errors import BadRequest

Labels = Mapping[str, str]

_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+)")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,64}")


@dataclass(frozen=True, slots=True)
class Requirement:
    """`key operator values`; operators: in, notin, exists, !, gt, lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """As upstream: `notin` holds where the label is missing."""
        found = labels.get(self.key)
        if self.operator == "in":
            return found is not None and found in self.values
        if self.operator == "notin":
            return found is None or found not in self.values
        if self.operator == "exists":
            return found is not None
        if self.operator == "!":
            return found is None
        return found is not None and self._compares(found)

    def _compares(self, found: str) -> bool:
        number, bound = _integer(found), _integer(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator == "gt" else number < bound

    def __str__(self) -> str:
        if self.operator in ("exists", "!"):
            return self.key if self.operator == "exists" else f"!{self.key}"
        if self.operator in ("gt", "lt"):
            return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
        if len(self.values) == 1:
            return f"{self.key}{'=' if self.operator == 'in' else '!='}{self.values[0]}"
        return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"


def _integer(text: str) -> int | None:
    """Of 64 bits and with digits only (`int` takes 1_0 too)."""
    number = int(text) if _INTEGER.fullmatch(text) else None
    return None if number is None or not -(2**63) <= number < 2**63 else number


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; `nothing` matches no object (a selector that is absent)."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Labels | None) -> bool:
        """Whether an object with these labels is selected."""
        if self.nothing:
            return False
        found = labels or {}
        return all(requirement.matches(found) for requirement in self.requirements)

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


def is_label_key(key: str) -> bool:
    """A qualified name: an optional DNS prefix, a slash, and up to 63 characters."""
    prefix, slash, own = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _PREFIX.fullmatch(prefix)):
        return False
    return len(own) <= 63 and _NAME.fullmatch(own) is not None


def is_label_value(value: str) -> bool:
    """Empty, or up to 63 characters that begin and end with a letter or digit."""
    return value == "" or (len(value) <= 63 and _NAME.fullmatch(value) is not None)


_OPERATORS_IN_TEXT = frozenset({"", "=", "==", "!=", "<", ">", "(", ")", ",", "!"})


class _Parser:
    """Recursive descent over the tokens of a label selector."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def fail(self, why: str) -> BadRequest:
        return BadRequest(f"unable to parse requirement: {why}")

    def parse(self) -> LabelSelector:
        requirements = []
        while self.peek():
            requirements.append(self.requirement())
            if self.peek() and self.take() != ",":
                raise self.fail(
                    f"found '{self.tokens[self.at - 1]}', expected: ',' or 'end of string'"
                )
            if self.at == len(self.tokens) and self.tokens[-1] == ",":
                raise self.fail("found '', expected: identifier after ','")
        return LabelSelector(tuple(requirements))

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            return Requirement(self.key(), "!")
        key = self.key()
        if self.peek() in ("", ","):
            return Requirement(key, "exists")
        return self.operation(key, self.take())

    def operation(self, key: str, operator: str) -> Requirement:
        if operator in ("in", "notin"):
            return Requirement(key, operator, self.set_values(key))
        if operator in ("=", "==", "!="):
            return Requirement(key, "notin" if operator == "!=" else "in", (self.value(key),))
        if operator in (">", "<"):
            return Requirement(key, "gt" if operator == ">" else "lt", (self.number(key),))
        raise self.fail(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def key(self) -> str:
        key = self.take()
        if key in _OPERATORS_IN_TEXT:
            raise self.fail(f"found '{key}', expected: identifier")
        if not is_label_key(key):
            raise self.fail(f'<nil>: Invalid value: "{key}": {_wrong("qualified_name", key)}')
        return key

    def value(self, key: str, at: int = 0) -> str:
        value = "" if self.peek() in ("", ",", ")") else self.take()
        if not is_label_value(value):
            why = _wrong("label_value", value)
            raise self.fail(f'values[{at}][{key}]: Invalid value: "{value}": {why}')
        return value

    def number(self, key: str) -> str:
        value = self.value(key)
        if _integer(value) is None:
            raise self.fail(
                f"for 'Gt', 'Lt' operators, the value must be an integer, not {value!r}"
            )
        return value

    def set_values(self, key: str) -> tuple[str, ...]:
        if (found := self.take()) != "(":
            raise self.fail(f"found '{found}', expected: '('")
        values = [self.value(key)]
        while self.peek() == ",":
            self.take()
            values.append(self.value(key, len(values)))
        if (found := self.take()) != ")":
            raise self.fail(f"found '{found}', expected: ',' or ')'")
        return tuple(dict.fromkeys(values))


def _wrong(rule: str, text: str) -> str:
    """What the rule for such names says of a text that breaks it."""
    from cluster.machinery.validation import formats  # it needs selectors itself

    return "; ".join(getattr(formats, rule)(text))


def _tokens(text: str) -> list[str]:
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadRequest(f"unable to parse requirement: {text[at:]!r}")
        tokens.append(match.group(1))
        at = match.end()
    return tokens


def parse_labels(text: str) -> LabelSelector:
    """`a=b,c!=d,e in (f,g),h,!i`; BadRequest when it is none. Empty text selects everything."""
    return _Parser(text).parse() if text.strip() else EVERYTHING


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Of a metav1.LabelSelector; None selects nothing and `{}` everything, as upstream."""
    if selector is None:
        return NOTHING
    pairs = (selector.get("matchLabels") or {}).items()
    requirements = [Requirement(key, "in", (value,)) for key, value in sorted(pairs)]
    for entry in selector.get("matchExpressions") or ():
        operator = _OPERATORS.get(entry.get("operator", ""))
        if operator is None:
            raise BadRequest(f'"{entry.get("operator")}" is not a valid label selector operator')
        values = tuple(entry.get("values") or ())
        requirements.append(Requirement(entry["key"], operator, values))
    return LabelSelector(tuple(requirements))


def from_labels(labels: Labels | None) -> LabelSelector:
    """Of a plain map, as in a Service's selector; an absent or empty map selects nothing."""
    if not labels:
        return NOTHING
    return LabelSelector(tuple(Requirement(k, "in", (v,)) for k, v in sorted(labels.items())))


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """`path=value` (`equal`) or `path!=value`."""

    path: str
    equal: bool
    value: str


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All requirements must hold on the object's own fields."""

    requirements: tuple[FieldRequirement, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements

    def exact(self, path: str) -> str | None:
        """The value that this path must have, if one is demanded."""
        return next((r.value for r in self.requirements if r.path == path and r.equal), None)

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """A missing field counts as its zero value, as in Go."""
        return all((field_text(obj, r.path) == r.value) == r.equal for r in self.requirements)


_SWITCHES = frozenset({"spec.unschedulable", "spec.hostNetwork"})
_NUMBERS = frozenset({"status.successful", "status.replicas"})
_PLACES = {"status.successful": ("status", "succeeded")}


def field_text(obj: Mapping[str, Any], path: str) -> str:
    """The text that a field selector compares: booleans as true/false, numbers in digits."""
    found: Any = obj
    for step in _PLACES.get(path) or path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    if found is None:
        return "false" if path in _SWITCHES else "0" if path in _NUMBERS else ""
    return str(found).lower() if isinstance(found, bool) else str(found)


def parse_fields(text: str) -> FieldSelector:
    """`a.b=c,d!=e` (commas, equal signs and backslashes escaped by a backslash)."""
    terms = _split_terms(text) if text.strip() else []
    return FieldSelector(tuple(_field_term(term) for term in terms if term.strip()))


def _split_terms(text: str) -> Sequence[str]:
    return re.findall(r"(?:[^,\\]|\\.?)+", text, re.DOTALL)


def _field_term(term: str) -> FieldRequirement:
    match = re.fullmatch(r"\s*([^=!]+?)(==|!=|=)((?:[^=\\]|\\[\\,=])*)", term)
    if match is None:
        raise BadRequest(f"invalid selector: '{term}'; can't understand '{term}'")
    path, operator, value = match.groups()
    return FieldRequirement(path, operator != "!=", re.sub(r"\\(.)", r"\1", value.strip()))
