"""CEL in admission: what expressions may refer to, and evaluating them for one write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.apiserver.admission.versions import Shown
from cluster.apiserver.authn.user import User
from cluster.apiserver.authz.attributes import Attributes, Authorizer
from cluster.machinery.cel import (
    CelError,
    CompileError,
    Environment,
    EvaluationError,
    Meter,
    Program,
    types,
)
from cluster.machinery.cel.admission import ADMISSION, USUAL
from cluster.machinery.cel.library import authorizer as asking
from cluster.machinery.cel.program import Lazy, State
from cluster.machinery.cel.types import Type
from cluster.storage import turns

Object = dict[str, Any]

CALL_BUDGET = 1_000_000.0
"""Of one evaluation of one expression."""
POLICY_BUDGET = 10_000_000.0
"""Of all the expressions of one policy for one write."""
CONDITIONS_BUDGET = 2_500_000.0
"""Of all the match conditions of one webhook or policy."""
MAX_QUESTIONS = 32
"""How many different ones an expression may ask of the authorizer: its cost allows fewer."""


@dataclass(frozen=True)
class Expression:
    """A compiled expression, or why there is none: that is told when it is needed."""

    source: str
    program: Program | None
    error: str = ""


def compiled(
    source: str,
    more: Mapping[str, Type] | None = None,
    wanted: Sequence[Type] = (types.BOOL,),
    structs: Mapping[str, Type] | None = None,
) -> Expression:
    """`wanted`: the types that it may have, besides dyn."""
    try:
        program = Environment({**USUAL, **(more or {})}, structs or {}, ADMISSION).compile(source)
    except CompileError as error:
        return Expression(source, None, f"compilation failed: {error}")
    found = program.result_type
    if wanted and not found.is_dyn and found.name not in [each.name for each in wanted]:
        shown = " or ".join(str(each) for each in wanted)
        return Expression(source, None, f"must evaluate to {shown}")
    return Expression(source, program)


class _Shared(Lazy):
    """A variable that remembers its value for the expressions that come later."""

    __slots__ = ("_name", "_variables")

    def __init__(self, program: Program, name: str, variables: dict[str, Any]) -> None:
        super().__init__(program)
        self._name, self._variables = name, variables

    def __call__(self, state: State) -> Any:
        try:
            value = self._variables[self._name] = super().__call__(state)
        except EvaluationError as error:
            name = self._name.removeprefix("variables.")
            text = f'composited variable "{name}" fails to evaluate: {error}'
            raise EvaluationError(text) from error
        return value


class _Unanswered(Exception):
    """The authorizer has to be asked first."""

    def __init__(self, query: asking.Query) -> None:
        self.query = query


class _Attempt:
    """Evaluates a program; `meter` then tells what it has cost."""

    def __init__(self, program: Program, variables: Mapping[str, Any], limit: float) -> None:
        self._program, self._variables, self._limit = program, variables, limit
        self.meter = Meter(limit)

    def __call__(self) -> Any:
        self.meter = Meter(self._limit)
        return self._program.evaluate(self._variables, self.meter)


class Evaluation:
    """The variables of one write, and the answers of the authorizer, which are asked once."""

    def __init__(
        self, review: Review, authorizer: Authorizer, shown: Shown | None = None, **more: Any
    ) -> None:
        """`shown`: the write in another version than its own."""
        self._review, self._authorizer = review, authorizer
        shown = shown or Shown(review.resource, review.new, review.old)
        self._answers: dict[asking.Query, asking.Decision] = {}
        own = asking.Query(
            group=review.resource.group,
            resource=review.resource.plural,
            subresource=review.subresource,
            namespace=review.namespace,
            name=review.name,
        )
        self.variables: dict[str, Any] = {
            "object": shown.new,
            "oldObject": shown.old,
            "request": request_of(review, shown.form),
            "authorizer": asking.Authorizer(self._decide),
            "authorizer.requestResource": asking.ResourceCheck(self._decide, own),
            **more,
        }

    def define(self, variables: Sequence[tuple[str, Expression]]) -> None:
        """Variables of a policy: evaluated when they are first asked for, once for all."""
        for name, expression in variables:
            if expression.program is not None:
                self.variables[name] = _Shared(expression.program, name, self.variables)

    async def value(self, expression: Expression, budget: Meter) -> Any:
        """Raises CelError. Evaluated anew whenever the authorizer has had to be asked."""
        if expression.program is None:
            raise CelError(expression.error)
        left = min(CALL_BUDGET, max(budget.left, 0))
        for _ in range(MAX_QUESTIONS):
            attempt = _Attempt(expression.program, self.variables, left)
            try:
                found = await turns.run(attempt)
            except _Unanswered as question:
                self._answers[question.query] = await self._ask(question.query)
                continue
            except CelError:
                budget.left -= attempt.meter.spent
                raise
            budget.charge(attempt.meter.spent)
            return found
        raise CelError("too many questions to the authorizer")

    def _decide(self, query: asking.Query) -> asking.Decision:
        try:
            return self._answers[query]
        except KeyError:
            raise _Unanswered(query) from None

    async def _ask(self, query: asking.Query) -> asking.Decision:
        user = self._review.user
        if query.service_account != ("", ""):
            namespace, name = query.service_account
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
            user = User(f"system:serviceaccount:{namespace}:{name}", groups)
        asked = Attributes(user, query.verb, query.path)
        if not query.path:
            asked = asked._replace(
                group=query.group,
                version="*",
                resource=query.resource,
                subresource=query.subresource,
                namespace=query.namespace,
                name=query.name,
            )
        decision = await self._authorizer.decide(asked)
        return asking.Decision(decision.allowed, decision.reason)


def request_of(review: Review, form: Any) -> Object:
    """The write as an AdmissionRequest, without uid and objects; `form`: the version shown."""
    own = review.resource
    sub = own.subresource(review.subresource) if review.subresource else None
    shown = {"group": form.group, "version": form.version, "kind": form.kind}
    asked = {"group": own.group, "version": own.version, "kind": own.kind}
    if sub is not None and sub.kind != own.kind:
        shown = asked = {"group": sub.group, "version": sub.version, "kind": sub.kind}
    found: Object = {
        "kind": shown,
        "resource": {"group": form.group, "version": form.version, "resource": form.plural},
        "requestKind": asked,
        "requestResource": {"group": own.group, "version": own.version, "resource": own.plural},
        "operation": review.operation.upper(),
        "userInfo": review.user.to_info(),
        "dryRun": review.dry_run,
        "options": dict(review.options) or None,
    }
    if review.subresource:
        found["subResource"] = found["requestSubResource"] = review.subresource
    for name, value in (("name", review.name), ("namespace", review.namespace)):
        if value:
            found[name] = value
    if own.plural == "namespaces" and not own.group:
        found["namespace"] = review.name
    return found


@dataclass(frozen=True)
class Conditions:
    """matchConditions: all must hold; the first that does not decides, an error only else."""

    named: Sequence[tuple[str, Expression]]

    async def hold(self, evaluation: Evaluation) -> bool:
        """Raises CelError if an expression fails and no other says no."""
        budget, failures = Meter(CONDITIONS_BUDGET), []
        for _, expression in self.named:
            try:
                if await evaluation.value(expression, budget) is not True:
                    return False
            except CelError as error:
                failures.append(str(error))
        if failures:
            raise CelError(", ".join(failures))
        return True


def conditions(raw: Mapping[str, Any], more: Mapping[str, Type] | None = None) -> Conditions:
    """From the `matchConditions` of a webhook or policy."""
    found = raw.get("matchConditions") or ()
    return Conditions([(each["name"], compiled(each["expression"], more)) for each in found])
