"""PodTolerationRestriction: what the pods of a namespace tolerate, and may tolerate at all.

A namespace says so in two annotations, lists of tolerations in JSON; the configuration has the
`default` and the `whitelist` for those that say nothing. After upstream's plugin of that name.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.machinery import qos, status

Object = dict[str, Any]
FindNamespace = Callable[[str], Awaitable[Object | None]]
DEFAULTS = "scheduler.alpha.kubernetes.io/defaultTolerations"
WHITELIST = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
MEMORY_PRESSURE = {
    "key": "node.kubernetes.io/memory-pressure",
    "operator": "Exists",
    "effect": "NoSchedule",
}


class NamespaceTolerations:
    """Two admission plugins: `add` is of the mutating phase, `check` of the validating one."""

    def __init__(self, find_namespace: FindNamespace, config: Mapping[str, Any]) -> None:
        self._find_namespace = find_namespace
        self._config = {DEFAULTS: config.get("default"), WHITELIST: config.get("whitelist")}

    async def add(self, review: Review) -> None:
        pod = _written(review)
        if pod is None:
            return
        found = list(pod["spec"].get("tolerations") or ())
        if review.operation == "create":
            found = merged([*await self._of(review, DEFAULTS), *found])
        if qos.class_of(pod["spec"]) != "BestEffort":
            found = merged([*found, MEMORY_PRESSURE])
        if found:
            pod["spec"]["tolerations"] = found

    async def check(self, review: Review) -> None:
        pod = _written(review)
        allowed = await self._of(review, WHITELIST) if pod is not None else ()
        if pod is None or not allowed:
            return
        for toleration in pod["spec"].get("tolerations") or ():
            if not any(covers(wider, toleration) for wider in allowed):
                text = (
                    "pod tolerations (possibly merged with namespace default tolerations) "
                    "conflict with its namespace whitelist"
                )
                raise status.forbidden(review.resource, review.name, text)

    async def _of(self, review: Review, annotation: str) -> Sequence[Object]:
        """What the namespace says, an empty list too; else what is configured."""
        namespace = await self._find_namespace(review.namespace) or {}
        text = ((namespace.get("metadata") or {}).get("annotations") or {}).get(annotation)
        if text is None:
            return self._config[annotation] or ()
        try:
            found = json.loads(text) if text else []
        except ValueError as error:
            raise status.forbidden(review.resource, review.name, f"{annotation}: {error}") from None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            text = f"{annotation}: not a list of tolerations"
            raise status.forbidden(review.resource, review.name, text)
        return found


def _written(review: Review) -> Object | None:
    if review.resource.plural != "pods" or review.resource.group or review.subresource:
        return None
    return review.new


def merged(tolerations: Sequence[Object]) -> list[Object]:
    """Without those that another one of the list makes needless."""
    kept: list[Object] = []
    for number, each in enumerate(tolerations):
        later = tolerations[number + 1 :]
        if not any(covers(other, each) for other in (*kept, *later)):
            kept.append(each)
    return kept


def covers(wider: Object, narrower: Object) -> bool:
    """Whether `wider` tolerates all that `narrower` does, for as long."""
    if wider == narrower:
        return True
    key, operator = wider.get("key") or "", wider.get("operator") or "Equal"
    if key != (narrower.get("key") or "") and (key or operator != "Exists"):
        return False
    if (wider.get("effect") or "") not in ("", narrower.get("effect") or ""):
        return False
    if operator == "Equal":
        other = narrower.get("operator") or "Equal"
        if other != "Equal" or (wider.get("value") or "") != (narrower.get("value") or ""):
            return False
    longest = wider.get("tolerationSeconds")
    if longest is None or wider.get("effect") != "NoExecute":
        return True
    asked = narrower.get("tolerationSeconds")
    return asked is not None and asked <= longest
