"""PodSecurity: what pods may not do, by the labels of their namespace.

Pods are refused, audited and warned about; workloads that will make pods only the latter two.
Config: a PodSecurityConfiguration, as far as it goes: `defaults` by "enforce" and so on,
`exemptions` with `usernames`, `namespaces` and `runtimeClasses`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.machinery import podsecurity, status
from cluster.machinery.podsecurity import Level
from cluster.machinery.podsecurity.policy import PREFIX

Object = dict[str, Any]
FindLabels = Callable[[str], Awaitable[Mapping[str, str]]]
"""The labels of a namespace."""
ListPods = Callable[[str], Sequence[Object]]
WORKLOADS: Mapping[str, tuple[str, ...]] = {
    "replicationcontrollers": ("spec", "template"),
    "podtemplates": ("template",),
    "deployments.apps": ("spec", "template"),
    "replicasets.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
NO_POLICY = podsecurity.read({}, {})
MAX_PODS = 3000
"""How many pods of a namespace are looked at when its level changes, as upstream."""
MAX_TOLD = 10


class PodSecurity:
    """An admission plugin. `pods` lists those of a namespace."""

    def __init__(self, find_labels: FindLabels, pods: ListPods, config: Mapping[str, Any]) -> None:
        self._find_labels, self._pods = find_labels, pods
        self._defaults: Mapping[str, str] = config.get("defaults") or {}
        self._exempt: Mapping[str, Sequence[str]] = config.get("exemptions") or {}

    async def __call__(self, review: Review) -> None:
        if review.new is None or review.operation not in ("create", "update"):
            return
        key = review.resource.group_resource
        if key == "pods":
            if review.subresource in ("", "ephemeralcontainers"):
                await self._pod(review, review.new)
        elif key == "namespaces":
            if not review.subresource:
                self._namespace(review, review.new)
        elif key in WORKLOADS and not review.subresource:
            await self._workload(review, review.new, WORKLOADS[key])

    async def _policy(self, namespace: str) -> podsecurity.Policy:
        labels = await self._find_labels(namespace)
        if not self._defaults and not any(key.startswith(PREFIX) for key in labels):
            return NO_POLICY
        return podsecurity.read(labels, self._defaults)

    def _exempts(self, review: Review, spec: Object) -> bool:
        return (
            review.namespace in (self._exempt.get("namespaces") or ())
            or review.user.name in (self._exempt.get("usernames") or ())
            or spec.get("runtimeClassName") in (self._exempt.get("runtimeClasses") or ())
        )

    async def _pod(self, review: Review, pod: Object) -> None:
        spec = pod.get("spec") or {}
        if self._exempts(review, spec) or not _significant(review):
            return
        policy = await self._policy(review.namespace)
        review.annotations["pod-security.kubernetes.io/enforce-policy"] = str(policy.enforce)
        if policy is NO_POLICY:
            return
        found = podsecurity.violations(pod["metadata"], spec, policy.enforce)
        self._audit(review, pod["metadata"], spec, policy.audit)
        if found:
            text = f'violates PodSecurity "{policy.enforce}": {found}'
            raise status.forbidden(review.resource, review.name, text)
        self._warn(review, pod["metadata"], spec, policy.warn)

    async def _workload(self, review: Review, obj: Object, path: Sequence[str]) -> None:
        template: Any = obj
        for step in path:
            template = (template or {}).get(step)
        spec = (template or {}).get("spec")
        if not spec or self._exempts(review, spec):
            return
        policy = await self._policy(review.namespace)
        metadata = (template or {}).get("metadata") or {}
        self._audit(review, metadata, spec, policy.audit)
        self._warn(review, metadata, spec, policy.warn)

    def _audit(self, review: Review, metadata: Object, spec: Object, level: Level) -> None:
        found = podsecurity.violations(metadata, spec, level)
        if found:
            key = "pod-security.kubernetes.io/audit-violations"
            review.annotations[key] = f'would violate PodSecurity "{level}": {found}'

    def _warn(self, review: Review, metadata: Object, spec: Object, level: Level) -> None:
        found = podsecurity.violations(metadata, spec, level)
        if found:
            review.warn(f'would violate PodSecurity "{level}": {found}')

    def _namespace(self, review: Review, new: Object) -> None:
        """Labels must be valid, and what runs already is told when it would not be let in."""
        labels = new["metadata"].get("labels") or {}
        had = ((review.old or {}).get("metadata") or {}).get("labels") or {}
        causes = podsecurity.problems(labels)
        if causes and (review.old is None or causes != podsecurity.problems(had)):
            raise status.invalid("Namespace", review.name, causes)
        level = podsecurity.read(labels, self._defaults).enforce
        if review.old is None or level == podsecurity.read(had, self._defaults).enforce:
            return
        if level.name == "privileged" or review.name in (self._exempt.get("namespaces") or ()):
            return
        told: dict[str, list[str]] = {}
        for pod in self._pods(review.name)[:MAX_PODS]:
            found = podsecurity.violations(pod["metadata"], pod.get("spec") or {}, level)
            if found:
                told.setdefault(_reasons(found), []).append(pod["metadata"]["name"])
        if told:
            review.warn(
                f'existing pods in namespace "{review.name}" violate the new PodSecurity enforce '
                f'level "{level}"'
            )
        for reasons, names in sorted(told.items(), key=lambda item: item[1])[:MAX_TOLD]:
            more = len(names) - 1
            others = f" (and {more} other pod{'s' if more > 1 else ''})" if more else ""
            review.warn(f"{names[0]}{others}: {reasons}")


def _reasons(found: str) -> str:
    """Without the details in parentheses."""
    shown, depth = [], 0
    for char in found:
        depth += (char == "(") - (char == ")")
        if depth == 0 and char != ")":
            shown.append(char)
    return "".join(shown).replace(" ,", ",").strip()


def _significant(review: Review) -> bool:
    """Updates that change nothing that the checks look at are let through."""
    if review.old is None or review.new is None or review.subresource == "ephemeralcontainers":
        return True
    new, old = review.new, review.old
    annotations = [(o.get("metadata") or {}).get("annotations") or {} for o in (new, old)]
    unchecked = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
    specs = [
        {k: v for k, v in (o.get("spec") or {}).items() if k not in unchecked} for o in (new, old)
    ]
    return annotations[0] != annotations[1] or specs[0] != specs[1]
