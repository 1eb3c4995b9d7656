"""Admission policies as they are used: compiled once, with their bindings and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.admission import evaluation, matching
from cluster.apiserver.admission.chain import Review
from cluster.apiserver.admission.evaluation import Conditions, Expression, compiled
from cluster.apiserver.admission.matching import Matcher
from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.context import Kept
from cluster.machinery import selectors
from cluster.machinery.cel import types
from cluster.machinery.cel.admission import IN_POLICIES
from cluster.machinery.cel.types import Type
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest
from cluster.machinery.status import ApiError
from cluster.storage import keys

Object = dict[str, Any]
EVERYTHING = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
TEXT, TEXT_OR_NULL = (types.STRING,), (types.STRING, types.NULL)


class Misconfigured(Exception):
    """A policy cannot be asked: its failurePolicy says what that means."""


@dataclass(frozen=True)
class Validation:
    expression: Expression
    message: str
    message_expression: Expression | None
    reason: str


@dataclass(frozen=True)
class Policy:
    """A ValidatingAdmissionPolicy. `variables` in order: each may use those before it."""

    name: str
    raw: Mapping[str, Any]
    matcher: Matcher
    conditions: Conditions
    variables: Sequence[tuple[str, Expression]]
    validations: Sequence[Validation]
    annotations: Sequence[tuple[str, Expression]]

    @property
    def fails(self) -> bool:
        """Whether a write is refused when the policy cannot be evaluated."""
        return bool(self.raw.get("failurePolicy", "Fail") != "Ignore")


@dataclass(frozen=True)
class Binding:
    name: str
    policy: str
    matcher: Matcher
    params: Mapping[str, Any] | None
    actions: Sequence[str]


def policy(obj: Object) -> Policy:
    """Expressions that do not compile are kept with what is wrong, and fail when asked."""
    spec = obj.get("spec") or {}
    variables, known = variables_of(spec)
    return Policy(
        obj["metadata"]["name"],
        spec,
        matching.matcher(
            spec.get("matchConstraints") or {}, "resourceRules", "excludeResourceRules"
        ),
        evaluation.conditions(spec, IN_POLICIES),
        variables,
        [_validation(each, known) for each in spec.get("validations") or ()],
        [
            (each["key"], compiled(each["valueExpression"], known, TEXT_OR_NULL))
            for each in spec.get("auditAnnotations") or ()
        ],
    )


def variables_of(
    spec: Mapping[str, Any], structs: Mapping[str, Type] | None = None
) -> tuple[list[tuple[str, Expression]], dict[str, Type]]:
    """(the variables with their names, everything that later expressions may refer to)."""
    known, found = dict(IN_POLICIES), []
    for each in spec.get("variables") or ():
        expression = compiled(each["expression"], known, (), structs)
        name = f"variables.{each['name']}"
        known[name] = expression.program.result_type if expression.program else types.DYN
        found.append((name, expression))
    return found, known


def _validation(raw: Mapping[str, Any], known: Mapping[str, Type]) -> Validation:
    text = raw.get("messageExpression")
    return Validation(
        compiled(raw["expression"], known),
        (raw.get("message") or "").strip(),
        compiled(text, known, TEXT) if text else None,
        raw.get("reason") or "Invalid",
    )


def binding(obj: Object) -> Binding:
    spec = obj.get("spec") or {}
    match = spec.get("matchResources") or {}
    if not match.get("resourceRules"):
        match = {**match, "resourceRules": [EVERYTHING]}
    return Binding(
        obj["metadata"]["name"],
        spec.get("policyName", ""),
        matching.matcher(match, "resourceRules", "excludeResourceRules"),
        spec.get("paramRef"),
        spec.get("validationActions") or (),
    )


class Parameters:
    """Finds the objects that a binding refers to, built-in or custom, in the caches."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._generation = -1
        self._kinds: dict[tuple[str, str], Kept] = {}

    async def find(
        self, kind: Mapping[str, Any] | None, ref: Mapping[str, Any] | None, review: Review
    ) -> Sequence[Object | None]:
        """One for each evaluation: [None] for a policy without. Raises Misconfigured."""
        if not kind or ref is None:
            return [None]
        kept = self._kept(kind)
        namespace = self._namespace(kept, ref, review)
        found = await self._objects(kept, ref, namespace)
        if not found and ref.get("parameterNotFoundAction") == "Deny":
            text = "no params found for policy binding with `Deny` parameterNotFoundAction"
            raise Misconfigured(text)
        return found

    def _kept(self, kind: Mapping[str, Any]) -> Kept:
        if self._generation != self._catalogue.generation:
            served = self._catalogue.kept.values()
            self._kinds = {(k.resource.api_version, k.resource.kind): k for k in served}
            self._generation = self._catalogue.generation
        kept = self._kinds.get((kind.get("apiVersion", ""), kind.get("kind", "")))
        if kept is None:
            shown = f"{kind.get('apiVersion')}, Kind={kind.get('kind')}"
            raise Misconfigured(f"failed to find resource referenced by paramKind: '{shown}'")
        return kept

    def _namespace(self, kept: Kept, ref: Mapping[str, Any], review: Review) -> str:
        given = str(ref.get("namespace") or "")
        if not kept.resource.namespaced:
            if given:
                raise Misconfigured(
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
                )
            return ""
        if not given and not review.namespace:
            raise Misconfigured(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped "
                "resources"
            )
        return given or review.namespace

    async def _objects(self, kept: Kept, ref: Mapping[str, Any], namespace: str) -> list[Object]:
        registry = kept.registry
        if ref.get("name"):
            entry = registry.cache.get(registry.key(namespace, ref["name"]))
            if entry is not None:
                return [entry.decode()]
            try:
                return [json_codec.decode(await registry.get(namespace, ref["name"]))]
            except ApiError as error:
                if error.reason != "NotFound":
                    raise
                return []
        try:
            selector = selectors.from_object(ref.get("selector") or {})
        except BadRequest as error:
            raise Misconfigured(str(error)) from error
        entries = registry.cache.entries(keys.prefix(kept.resource, namespace))
        return [entry.decode() for entry in entries if selector.matches(entry.labels)]
