"""Which of the keys found a range answers with: bounds on revisions, then order, then limit.

The rules are those of etcd 3.4 (`etcdserver/apply.go`, Range): a target other than the key implies
ascending order, and the bounds count neither in `count` nor in what `limit` cuts before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from raftstore.types import KeyValue, Range

SORT_KEYS: dict[str, Callable[[KeyValue], Any]] = {
    "key": attrgetter("key"),
    "version": attrgetter("version"),
    "create": attrgetter("create_revision"),
    "mod": attrgetter("mod_revision"),
    "value": attrgetter("value"),
}
SORT_ORDERS = ("", "ascend", "descend")


def needs_all(request: Range) -> bool:
    """Whether a limit may only be applied once every key of the range is known."""
    in_key_order = request.sort_target == "key" and request.sort_order != "descend"
    return not in_key_order or has_bounds(request)


def has_bounds(request: Range) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def select(kvs: list[KeyValue], request: Range) -> list[KeyValue]:
    """`kvs`, in key order, as the request wants to see them; the limit is not applied yet."""
    if has_bounds(request):
        kvs = [*_within_bounds(kvs, request)]
    if request.sort_target == "key":
        return kvs[::-1] if request.sort_order == "descend" else kvs
    descending = request.sort_order == "descend"
    return sorted(kvs, key=SORT_KEYS[request.sort_target], reverse=descending)


def _within_bounds(kvs: Iterable[KeyValue], request: Range) -> Iterable[KeyValue]:
    mod = request.min_mod_revision, request.max_mod_revision
    create = request.min_create_revision, request.max_create_revision
    return (
        kv for kv in kvs if _within(kv.mod_revision, *mod) and _within(kv.create_revision, *create)
    )


def _within(revision: int, low: int, high: int) -> bool:
    """0 is no bound."""
    return revision >= low and (not high or revision <= high)
