"""ValidatingAdmissionPolicy: rules in CEL, bound to what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.admission import matching, policies
from cluster.apiserver.admission.chain import Review
from cluster.apiserver.admission.evaluation import POLICY_BUDGET, Evaluation
from cluster.apiserver.admission.policies import Binding, Misconfigured, Parameters, Policy
from cluster.apiserver.admission.registered import Registered
from cluster.apiserver.admission.versions import Versions
from cluster.apiserver.authz.attributes import Authorizer
from cluster.machinery import status
from cluster.machinery.cel import CelError, CostExceeded, Meter
from cluster.machinery.codec import json_codec
from cluster.machinery.resources import Resource
from cluster.storage.cache import ResourceCache

Object = dict[str, Any]
FAILURES = "validation.policy.admission.k8s.io/validation_failure"
CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
OUT_OF_BUDGET = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)
MAX_MESSAGE_CHARS = 5 * 1024


@dataclass(frozen=True)
class Failure:
    """One rule that does not hold; `index` is its place in the policy, or None for the whole."""

    policy: Policy
    binding: Binding
    message: str
    reason: str = "Invalid"
    index: int | None = None

    def told(self) -> Object:
        """As it stands in the audit log."""
        return {
            "message": self.message,
            "policy": self.policy.name,
            "binding": self.binding.name,
            "expressionIndex": self.index or 0,
            "validationActions": list(self.binding.actions),
        }


class ValidatingPolicies:
    """An admission plugin."""

    def __init__(
        self,
        caches: tuple[ResourceCache, ResourceCache],
        authorizer: Authorizer,
        versions: Versions,
        parameters: Parameters,
    ) -> None:
        """`caches`: of policies, and of their bindings."""
        self._policies = Registered(caches[0], policies.policy)
        self._bindings = Registered(caches[1], policies.binding)
        self._authorizer, self._parameters = authorizer, parameters
        self._versions = versions

    async def __call__(self, review: Review) -> None:
        found = self._policies.all
        if not found or matching.exempt(review.resource):
            return
        bindings = self._bindings.all
        failures: list[Failure] = []
        for policy in found:
            bound = [each for each in bindings if each.policy == policy.name]
            if bound:
                failures += await self._apply(policy, bound, review)
        _report(review, failures)

    async def _apply(
        self, policy: Policy, bound: Sequence[Binding], review: Review
    ) -> list[Failure]:
        form = await policy.matcher.match(review, self._versions)
        failures: list[Failure] = []
        for binding in bound if form is not None else ():
            assert form is not None
            if await binding.matcher.match(review, self._versions) is None:
                continue
            try:
                kind = policy.raw.get("paramKind")
                for params in await self._parameters.find(kind, binding.params, review):
                    failures += await self._evaluate(policy, binding, review, form, params)
            except Misconfigured as error:
                if policy.fails:
                    text = f"failed to configure binding: {error}"
                    failures.append(Failure(policy, binding, text))
        return failures

    async def _evaluate(
        self, policy: Policy, binding: Binding, review: Review, form: Resource, params: Any
    ) -> list[Failure]:
        evaluation = await self._evaluation(review, form, params)
        try:
            if not await policy.conditions.hold(evaluation):
                return []
        except CelError as error:
            return [Failure(policy, binding, str(error))] if policy.fails else []
        evaluation.define(policy.variables)
        budget = Meter(POLICY_BUDGET)
        failures = await _failures(policy, binding, evaluation, budget)
        return failures + await _annotate(policy, binding, review, evaluation, budget)

    async def _evaluation(self, review: Review, form: Resource, params: Any) -> Evaluation:
        namespace = None
        if review.namespace and review.resource.plural != "namespaces":
            namespace = await self._versions.find_namespace(review.namespace)
        shown = await self._versions.shown(review, form)
        return Evaluation(review, self._authorizer, shown, params=params, namespaceObject=namespace)


async def _failures(
    policy: Policy, binding: Binding, evaluation: Evaluation, budget: Meter
) -> list[Failure]:
    failures: list[Failure] = []
    for index, each in enumerate(policy.validations):
        source = each.expression.source.strip()
        try:
            if await evaluation.value(each.expression, budget) is True:
                continue
        except CelError as error:
            spent = isinstance(error, CostExceeded) and budget.left <= 0
            text = OUT_OF_BUDGET if spent else f"expression '{source}' resulted in error: {error}"
            if policy.fails:
                failures.append(Failure(policy, binding, text, index=index))
            if spent:
                break
            continue
        message = each.message or f"failed expression: {source}"
        if each.message_expression is not None:
            message = await _message(each.message_expression, evaluation, budget) or message
        failures.append(Failure(policy, binding, message, each.reason, index))
    return failures


async def _message(expression: Any, evaluation: Evaluation, budget: Meter) -> str:
    """ "" if the expression gives no usable text."""
    try:
        found = await evaluation.value(expression, budget)
    except CelError:
        return ""
    text = found.strip() if isinstance(found, str) else ""
    return text if "\n" not in text and len(text) <= MAX_MESSAGE_CHARS else ""


async def _annotate(
    policy: Policy, binding: Binding, review: Review, evaluation: Evaluation, budget: Meter
) -> list[Failure]:
    failures: list[Failure] = []
    for key, expression in policy.annotations:
        try:
            value = await evaluation.value(expression, budget)
        except CelError as error:
            if policy.fails:
                failures.append(Failure(policy, binding, str(error)))
            continue
        if isinstance(value, str) and value.strip():
            review.annotations[f"{policy.name}/{key}"] = value.strip()
    return failures


def _report(review: Review, failures: Sequence[Failure]) -> None:
    """Do what the bindings say; the first failure that refuses is the answer."""
    audited = [each.told() for each in failures if "Audit" in each.binding.actions]
    if audited:
        review.annotations[FAILURES] = json_codec.encode(audited).decode()
    for each in failures:
        if "Warn" in each.binding.actions:
            review.warn(
                f"Validation failed for ValidatingAdmissionPolicy '{each.policy.name}' with "
                f"binding '{each.binding.name}': {each.message}"
            )
    refused = next((each for each in failures if "Deny" in each.binding.actions), None)
    if refused is not None:
        raise _refusal(review, refused)


def _refusal(review: Review, failure: Failure) -> status.ApiError:
    text = (
        f"ValidatingAdmissionPolicy '{failure.policy.name}' with binding "
        f"'{failure.binding.name}' denied request: {failure.message}"
    )
    error = status.forbidden(review.resource, review.name, text)
    error.status |= {"reason": failure.reason, "code": CODES.get(failure.reason, 422)}
    error.status["details"]["causes"] = [{"message": text}]
    return error
