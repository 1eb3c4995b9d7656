"""PodNodeSelector: the pods of a namespace run on the nodes that it is given.

A namespace says so in an annotation; the configuration (`podNodeSelectorPluginConfig`) has the
default for those that do not (`clusterDefaultNodeSelector`), and by their names what may be
selected in them at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.machinery import status

Object = dict[str, Any]
FindNamespace = Callable[[str], Awaitable[Object | None]]
ANNOTATION = "scheduler.alpha.kubernetes.io/node-selector"
DEFAULT = "clusterDefaultNodeSelector"


class NodeSelectors:
    """Two admission plugins: `set` is of the mutating phase, `check` of the validating one."""

    def __init__(self, find_namespace: FindNamespace, config: Mapping[str, Any]) -> None:
        """Raises ValueError for selectors that are none."""
        self._find_namespace = find_namespace
        found = config.get("podNodeSelectorPluginConfig") or {}
        self._selectors = {name: parse(text) for name, text in found.items()}

    async def set(self, review: Review) -> None:
        pod = review.creates("pods")
        wanted = {} if pod is None else await self._wanted(review)
        if pod is None or not wanted:
            return
        spec = pod.setdefault("spec", {})
        own = spec.get("nodeSelector") or {}
        if any(own.get(key, value) != value for key, value in wanted.items()):
            text = "pod node label selector conflicts with its namespace node label selector"
            raise status.forbidden(review.resource, review.name, text)
        spec["nodeSelector"] = {**wanted, **own}

    async def check(self, review: Review) -> None:
        pod = review.creates("pods")
        allowed = self._selectors.get(review.namespace) if pod is not None else None
        if pod is None or not allowed:
            return
        chosen = (pod.get("spec") or {}).get("nodeSelector") or {}
        if any(allowed.get(key) != value for key, value in chosen.items()):
            text = "pod node label selector labels conflict with its namespace whitelist"
            raise status.forbidden(review.resource, review.name, text)

    async def _wanted(self, review: Review) -> Mapping[str, str]:
        namespace = await self._find_namespace(review.namespace) or {}
        text = ((namespace.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
        if text is None:
            return self._selectors.get(DEFAULT, {})
        try:
            return parse(text)
        except ValueError as error:
            raise status.forbidden(review.resource, review.name, str(error)) from error


def parse(text: str) -> dict[str, str]:
    """ "a=b, c=d". Raises ValueError."""
    found = {}
    for part in filter(None, (each.strip() for each in str(text).split(","))):
        key, equals, value = part.partition("=")
        if not equals or "=" in value:
            raise ValueError(f"invalid selector: [{part}]")
        found[key.strip()] = value.strip()
    return found
