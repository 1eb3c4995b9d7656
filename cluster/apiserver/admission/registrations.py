"""What is registered with admission is compiled before it is stored, so that it can be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.apiserver.admission import evaluation, matching, mutating_policies, policies
from cluster.apiserver.admission.chain import Review
from cluster.machinery import status
from cluster.machinery.cel.admission import IN_POLICIES
from cluster.machinery.codec import json_codec

Object = dict[str, Any]


async def check(review: Review) -> None:
    """An admission plugin: expressions of what is registered must compile. 422 otherwise."""
    if review.resource.group != matching.GROUP or review.new is None or review.subresource:
        return
    causes = list(_wrong(review.resource.plural, review.new, review.old or {}))
    if causes:
        raise status.invalid(review.resource.group_kind, review.name, causes)


def _wrong(plural: str, new: Object, old: Object) -> Iterator[status.Cause]:
    """What is stored already is not refused for what it says."""
    if plural == "validatingadmissionpolicies" and new.get("spec") != old.get("spec"):
        yield from _wrong_policy(new)
    if plural == "mutatingadmissionpolicies" and new.get("spec") != old.get("spec"):
        yield from _wrong_conditions(new.get("spec") or {}, "spec", IN_POLICIES)
        for path, expression in mutating_policies.wrong(new):
            yield from _cause(expression, path)
    if plural.endswith("webhookconfigurations"):
        for at, hook in enumerate(new.get("webhooks") or ()):
            yield from _wrong_conditions(hook, f"webhooks[{at}]")


def _wrong_conditions(raw: Any, path: str, more: Any = None) -> Iterator[status.Cause]:
    from_raw = evaluation.conditions(raw, more)
    for at, (_, expression) in enumerate(from_raw.named):
        yield from _cause(expression, f"{path}.matchConditions[{at}].expression")


def _wrong_policy(new: Object) -> Iterator[status.Cause]:
    policy = policies.policy(new)
    yield from _wrong_conditions(policy.raw, "spec", IN_POLICIES)
    for at, (_, expression) in enumerate(policy.variables):
        yield from _cause(expression, f"spec.variables[{at}].expression")
    for at, each in enumerate(policy.validations):
        yield from _cause(each.expression, f"spec.validations[{at}].expression")
        if each.message_expression is not None:
            path = f"spec.validations[{at}].messageExpression"
            yield from _cause(each.message_expression, path)
    for at, (_, expression) in enumerate(policy.annotations):
        yield from _cause(expression, f"spec.auditAnnotations[{at}].valueExpression")


def _cause(expression: Any, path: str) -> Iterator[status.Cause]:
    if expression.error:
        shown = json_codec.encode(expression.source).decode()
        message = f"Invalid value: {shown}: {expression.error}"
        yield status.Cause("FieldValueInvalid", message, path)
