"""LimitRanger: what containers do not say is filled in, and what is out of bounds is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.machinery import quantity, status
from cluster.machinery.quota import pods

Object = dict[str, Any]
ListRanges = Callable[[str], Sequence[Object]]
"""The limit ranges of a namespace."""
ANNOTATION = "kubernetes.io/limit-ranger"
Problems = Iterator[str]


class LimitRanger:
    """Two admission plugins: `default` is of the mutating phase, `check` of the validating one."""

    def __init__(self, ranges: ListRanges) -> None:
        self._ranges = ranges

    async def default(self, review: Review) -> None:
        pod = review.creates("pods")
        if pod is None:
            return
        for found in self._ranges(review.namespace):
            for item in _items(found, "Container"):
                _default(pod, item)

    async def check(self, review: Review) -> None:
        pod, claim = review.creates("pods") or _resized(review), _claim(review)
        if pod is None and claim is None:
            return
        for found in self._ranges(review.namespace):
            problems = list(_pod(pod, found) if pod is not None else _storage(claim, found))
            if problems:
                text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
                raise status.forbidden(review.resource, review.name, text)


def _claim(review: Review) -> Object | None:
    resource = (review.resource.group, review.resource.plural)
    if resource != ("", "persistentvolumeclaims") or review.subresource:
        return None
    return review.new


def _resized(review: Review) -> Object | None:
    resource = (review.resource.group, review.resource.plural, review.subresource)
    return review.new if resource == ("", "pods", "resize") else None


def _items(found: Object, type_: str) -> list[Object]:
    limits = (found.get("spec") or {}).get("limits") or ()
    return [item for item in limits if item.get("type") == type_]


def _containers(pod: Object) -> Iterator[tuple[str, Object]]:
    spec = pod.get("spec") or {}
    for container in spec.get("containers") or ():
        yield "container", container
    for container in spec.get("initContainers") or ():
        yield "init container", container


def _default(pod: Object, item: Object) -> None:
    told = []
    for kind, container in _containers(pod):
        for part, field in (("requests", "defaultRequest"), ("limits", "default")):
            given = item.get(field) or {}
            if not given:
                continue
            resources = container.get("resources")
            if resources is None:
                resources = container["resources"] = {}
            own = resources.get(part) or {}
            missing = sorted(given.keys() - own.keys())
            if missing:
                resources[part] = {**own, **{name: given[name] for name in missing}}
                what = f"{', '.join(missing)} {part[:-1]} for {kind} {container.get('name', '')}"
                told.append(what)
    if told:
        metadata = pod["metadata"]
        annotations = metadata.get("annotations") or {}
        metadata["annotations"] = {
            **annotations, ANNOTATION: "LimitRanger plugin set: " + "; ".join(told)
        }  # fmt: skip


def _pod(pod: Object, found: Object) -> Problems:
    for item in _items(found, "Container"):
        for _, container in _containers(pod):
            yield from _bounds(item, pods.of(container, "requests"), pods.of(container, "limits"))
    spec = pod.get("spec") or {}
    for item in _items(found, "Pod"):
        yield from _bounds(item, pods.amounts(spec, "requests"), pods.amounts(spec, "limits"))


def _storage(claim: Object | None, found: Object) -> Problems:
    requests = pods.of((claim or {}).get("spec") or {}, "requests")
    for item in _items(found, "PersistentVolumeClaim"):
        for name, text in (item.get("min") or {}).items():
            yield from _least(item["type"], name, text, requests, {})
        for name, text in (item.get("max") or {}).items():
            yield from _most(item["type"], name, text, requests, requests, "request")


def _bounds(item: Object, requests: Mapping[str, int], limits: Mapping[str, int]) -> Problems:
    type_ = item["type"]
    for name, text in (item.get("min") or {}).items():
        yield from _least(type_, name, text, requests, limits)
    for name, text in (item.get("max") or {}).items():
        yield from _most(type_, name, text, requests, limits, "limit")
    for name, text in (item.get("maxLimitRequestRatio") or {}).items():
        yield from _ratio(type_, name, text, requests.get(name, 0), limits.get(name, 0))


def _least(
    type_: str, name: str, text: str, requests: Mapping[str, int], limits: Mapping[str, int]
) -> Problems:
    bound = quantity.parse(text)
    head = f"minimum {name} usage per {type_} is {quantity.canonical(text)}"
    if name not in requests:
        yield f"{head}.  No request is specified"
    elif requests[name] < bound:
        yield f"{head}, but request is {_shown(requests[name], text)}"
    elif limits.get(name, bound) < bound:
        yield f"{head}, but limit is {_shown(limits[name], text)}"


def _most(
    type_: str,
    name: str,
    text: str,
    requests: Mapping[str, int],
    limits: Mapping[str, int],
    what: str,
) -> Problems:
    bound = quantity.parse(text)
    head = f"maximum {name} usage per {type_} is {quantity.canonical(text)}"
    if name not in limits:
        yield f"{head}.  No {what} is specified"
    elif limits[name] > bound:
        yield f"{head}, but {what} is {_shown(limits[name], text)}"
    elif requests.get(name, 0) > bound:
        yield f"{head}, but request is {_shown(requests[name], text)}"


def _ratio(type_: str, name: str, text: str, request: int, limit: int) -> Problems:
    head = f"{name} max limit to request ratio per {type_} is {quantity.canonical(text)}"
    if not request:
        yield f"{head}, but no request is specified or request is 0"
    elif not limit:
        yield f"{head}, but no limit is specified or limit is 0"
    elif limit * quantity.NANO > quantity.parse(text) * request:
        yield f"{head}, but provided ratio is {limit / request:f}"


def _shown(nano: int, like: str) -> str:
    return quantity.format(nano, binary=str(like).endswith("i"))
