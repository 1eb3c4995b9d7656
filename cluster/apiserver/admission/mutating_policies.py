"""MutatingAdmissionPolicy (v1beta1): changes in CEL, by apply configurations or JSON patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.admission import evaluation, matching, policies, reinvocation
from cluster.apiserver.admission.chain import Review
from cluster.apiserver.admission.evaluation import (
    POLICY_BUDGET,
    Conditions,
    Evaluation,
    Expression,
)
from cluster.apiserver.admission.matching import Matcher
from cluster.apiserver.admission.policies import Binding, Misconfigured, Parameters
from cluster.apiserver.admission.registered import Registered
from cluster.apiserver.admission.versions import Shown, Versions
from cluster.apiserver.authz.attributes import Authorizer
from cluster.machinery import apply, status
from cluster.machinery.apply import Writer
from cluster.machinery.cel import CelError, Meter, types
from cluster.machinery.cel.admission import IN_POLICIES
from cluster.machinery.cel.types import Type
from cluster.machinery.errors import MachineryError
from cluster.machinery.kinds import Kind
from cluster.machinery.patch import json_patch
from cluster.machinery.resources import Resource
from cluster.storage.cache import ResourceCache

Object = dict[str, Any]
Served = Callable[[Resource], tuple[Kind | None, apply.Versions]]
"""How objects of a resource are checked, and merged."""
PLUGIN = "MutatingAdmissionPolicy"
OBJECT, PATCH = "Object", "JSONPatch"


class _AnyField(dict[str, Type]):
    """The fields of an object whose schema is not asked: what it cannot have is pruned later."""

    def __bool__(self) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        return types.DYN


class _Structs(dict[str, Type]):
    """`Object{...}`, `Object.spec{...}` and so on, and `JSONPatch{...}`."""

    def __bool__(self) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        if name == PATCH:
            fields = {"op": types.STRING, "path": types.STRING, "from": types.STRING}
            return types.object_type(PATCH, {**fields, "value": types.DYN})
        if name == OBJECT or name.startswith(f"{OBJECT}."):
            return types.object_type(name, _AnyField())
        return default

    def __contains__(self, name: object) -> bool:
        return self.get(str(name)) is not None

    def __getitem__(self, name: str) -> Type:
        found: Type = self.get(name)
        return found


STRUCTS = _Structs()


@dataclass(frozen=True)
class Policy:
    name: str
    raw: Mapping[str, Any]
    matcher: Matcher
    conditions: Conditions
    variables: Sequence[tuple[str, Expression]]
    mutations: Sequence[tuple[str, Expression]]

    @property
    def fails(self) -> bool:
        return bool(self.raw.get("failurePolicy", "Fail") != "Ignore")


def policy(obj: Object) -> Policy:
    spec = obj.get("spec") or {}
    variables, known = policies.variables_of(spec, STRUCTS)
    match = spec.get("matchConstraints") or {}
    return Policy(
        obj["metadata"]["name"],
        spec,
        matching.matcher(match, "resourceRules", "excludeResourceRules"),
        evaluation.conditions(spec, IN_POLICIES),
        variables,
        [_mutation(each, known) for each in spec.get("mutations") or ()],
    )


def _mutation(raw: Mapping[str, Any], known: Mapping[str, Type]) -> tuple[str, Expression]:
    kind = str(raw.get("patchType", ""))
    field = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}.get(kind, "")
    source = (raw.get(field) or {}).get("expression", "")
    wanted = Type(OBJECT) if kind == "ApplyConfiguration" else types.list_of(Type(PATCH))
    return kind, evaluation.compiled(source, known, (wanted,), STRUCTS)


class MutatingPolicies:
    """An admission plugin."""

    def __init__(
        self,
        caches: tuple[ResourceCache, ResourceCache],
        authorizer: Authorizer,
        versions: Versions,
        parameters: Parameters,
        served: Served,
    ) -> None:
        """`caches`: of policies, and of their bindings."""
        self._policies = Registered(caches[0], policy)
        self._bindings = Registered(caches[1], policies.binding)
        self._authorizer, self._versions = authorizer, versions
        self._parameters, self._served = parameters, served

    async def __call__(self, review: Review) -> None:
        found = self._policies.all
        if not found or review.new is None or matching.exempt(review.resource):
            return
        invoked = reinvocation.begin(review, PLUGIN)
        bindings = self._bindings.all
        for each in found:
            for binding in bindings:
                who = (each.name, binding.name)
                if binding.policy != each.name or invoked.skips(review, who):
                    continue
                changed = await self._invoke(each, binding, review)
                needed = each.raw.get("reinvocationPolicy") == "IfNeeded"
                invoked.note(review, who, changed=changed, if_needed=needed)
        invoked.end(review)

    async def _invoke(self, policy: Policy, binding: Binding, review: Review) -> bool:
        """Whether the object has been changed. 403 for a failure that may not be ignored."""
        form = await policy.matcher.match(review, self._versions)
        if form is None or await binding.matcher.match(review, self._versions) is None:
            return False
        shown = await self._versions.shown(review, form)
        try:
            kind = policy.raw.get("paramKind")
            changed = False
            for params in await self._parameters.find(kind, binding.params, review):
                changed |= await self._mutate(policy, review, shown, params)
        except (CelError, Misconfigured, MachineryError, ValueError) as error:
            if not policy.fails:
                return False
            text = f"policy '{policy.name}' with binding '{binding.name}' denied request: {error}"
            raise status.forbidden(review.resource, review.name, text) from error
        return changed

    async def _mutate(self, policy: Policy, review: Review, shown: Shown, params: Any) -> bool:
        assert review.new is not None
        assert shown.new is not None
        namespace = None
        if review.namespace and review.resource.plural != "namespaces":
            namespace = await self._versions.find_namespace(review.namespace)
        budget, before = Meter(POLICY_BUDGET), shown.new
        more = {"params": params, "namespaceObject": namespace}
        if not await policy.conditions.hold(Evaluation(review, self._authorizer, shown, **more)):
            return False
        now = before
        for kind, expression in policy.mutations:
            found = Evaluation(review, self._authorizer, shown, **more)
            found.variables["object"] = now
            found.define(policy.variables)
            now = self._patched(kind, await found.value(expression, budget), now, shown, review)
        if now == before:
            return False
        now = dict(await self._versions.converted(now, review.resource) or now)
        review.new.clear()
        review.new.update(now)
        return True

    def _patched(self, kind: str, value: Any, obj: Object, shown: Shown, review: Review) -> Object:
        form, versions = self._served(shown.form)
        if kind == "JSONPatch":
            new = json_patch.apply(obj, [dict(_plain(each)) for each in value])
        else:
            new = _applied(_plain(value), obj, versions)
        if form is not None and not review.subresource:
            wrong = form.check_types(new)
            if wrong:
                raise ValueError(wrong[0])
            form.prune(new)
            form.default(new)
        return dict(new)


def _applied(config: Object, obj: Object, versions: apply.Versions) -> Object:
    """Merged as server-side apply merges, but nobody becomes a manager of anything."""
    config |= {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}
    metadata = config.setdefault("metadata", {})
    managed = obj["metadata"].get("managedFields")
    bare = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}
    for field in ("name", "namespace"):
        if field in obj["metadata"]:
            metadata[field] = obj["metadata"][field]
    writer = Writer(PLUGIN, obj["apiVersion"], "")
    new = apply.applied(bare, config, writer, versions, force=True)
    new["metadata"].pop("managedFields", None)
    if managed is not None:
        new["metadata"]["managedFields"] = managed
    return new


def _plain(value: Any) -> Any:
    """CEL's values as JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    return next((kind(value) for kind in (int, float, str) if isinstance(value, kind)), value)


def wrong(new: Object) -> Iterator[tuple[str, Expression]]:
    """(path, expression) of everything that must compile."""
    found = policy(new)
    for at, (_, expression) in enumerate(found.variables):
        yield f"spec.variables[{at}].expression", expression
    for at, (kind, expression) in enumerate(found.mutations):
        field = "applyConfiguration" if kind == "ApplyConfiguration" else "jsonPatch"
        yield f"spec.mutations[{at}].{field}.expression", expression
