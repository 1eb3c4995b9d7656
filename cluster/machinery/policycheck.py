"""Whether the expressions of a ValidatingAdmissionPolicy suit the kinds that it is about (pure).

A policy is stored whatever it says of fields: the kinds that it matches may differ, or not be there
yet. What does not fit is told in its status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from cluster.machinery import meta
from cluster.machinery.cel import CompileError, Environment, types
from cluster.machinery.cel.admission import ADMISSION, IN_POLICIES, USUAL
from cluster.machinery.cel.types import Type

Object = dict[str, Any]
Kind = tuple[str, str, str]
"""(group, version, kind)."""
FindKind = Callable[[str, str, str], Kind | None]
"""Of (group, version, plural)."""
FindType = Callable[[Kind], Type | None]
MAX_KINDS = 10
"""As upstream: of one rule no more kinds are looked at."""


def warnings(policy: Object, find_kind: FindKind, find_type: FindType) -> list[Object]:
    """The ExpressionWarnings of the policy's status."""
    spec = policy.get("spec") or {}
    found = kinds(spec, find_kind)
    typed = [(kind, type_) for kind in found if (type_ := find_type(kind)) is not None]
    params = _params(spec, find_type)
    environments = [(kind, _environment(spec, type_, params)) for kind, type_ in typed]
    told = []
    for path, source in _expressions(spec):
        problems = [
            f"{_shown(kind)}: {problem}"
            for kind, known in environments
            if (problem := _problem(source, known))
        ]
        if problems:
            told.append({"fieldRef": path, "warning": "\n".join(problems)})
    return told


def kinds(spec: Mapping[str, Any], find_kind: FindKind) -> list[Kind]:
    """What the rules name, sorted; rules with wildcards name nothing."""
    found: set[Kind] = set()
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        named = 0
        for group, version, plural in product(*_names(rule)):
            kind = find_kind(group, version, plural)
            if kind is not None:
                found.add(kind)
                named += 1
            if named == MAX_KINDS:
                return sorted(found)
    return sorted(found)


def _names(rule: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for part in ("apiGroups", "apiVersions"):
        names = rule.get(part) or ()
        yield [] if any("*" in name for name in names) else sorted(names)
    plurals = rule.get("resources") or ()
    yield sorted(name for name in plurals if "*" not in name and "/" not in name)


def _params(spec: Mapping[str, Any], find_type: FindType) -> Type:
    named = spec.get("paramKind")
    if not named:
        return types.DYN
    group, version = meta.group_version(named.get("apiVersion", ""))
    return find_type((group, version, named.get("kind", ""))) or types.DYN


def _environment(spec: Mapping[str, Any], of_object: Type, params: Type) -> Mapping[str, Type]:
    """Everything that the expressions may refer to, with the policy's own variables."""
    known = {**USUAL, **IN_POLICIES, "object": of_object, "oldObject": of_object, "params": params}
    for each in spec.get("variables") or ():
        try:
            program = Environment(known, {}, ADMISSION).compile(each["expression"])
            found = program.result_type
        except CompileError:
            found = types.DYN
        known[f"variables.{each['name']}"] = found
    return known


def _expressions(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for at, each in enumerate(spec.get("validations") or ()):
        for name in ("expression", "messageExpression"):
            if each.get(name):
                yield f"spec.validations[{at}].{name}", each[name]


def _problem(source: str, known: Mapping[str, Type]) -> str:
    try:
        Environment(known, {}, ADMISSION).compile(source)
    except CompileError as error:
        return str(error)
    return ""


def _shown(kind: Kind) -> str:
    group, version, name = kind
    return f"{group}/{version}, Kind={name}" if group else f"/{version}, Kind={name}"
