"""The order of a merged list: the patch decides about its items, the server about the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Key = Callable[[Any], Any]


def interleave(
    merged: Sequence[Any], server: Sequence[Any], wanted: Sequence[Any], key: Key
) -> list[Any]:
    """`merged` sorted: items of `wanted` in that order, all others put between them.

    An item that only the server has goes before the first wanted item that followed it on the
    server, and never before one that it was already put behind (upstream's mergeSortedSlice).
    """
    rank = {key(item): at for at, item in reversed(list(enumerate(wanted)))}
    live = {key(item): at for at, item in reversed(list(enumerate(server)))}
    right = sorted((i for i in merged if key(i) in rank), key=lambda i: rank[key(i)])
    left = sorted(
        (i for i in merged if key(i) not in rank), key=lambda i: live.get(key(i), len(live))
    )
    at = 0
    for item in left:
        while at < len(right) and not _before(live, key(item), key(right[at])):
            at += 1
        right.insert(at, item)
        at += 1
    return right


def _before(live: dict[Any, int], one: Any, other: Any) -> bool:
    """Whether both are on the server and `one` comes first there."""
    return one in live and other in live and live[one] < live[other]


def matches_order(keys: Sequence[Any], order: Sequence[Any]) -> bool:
    """Whether `keys` is a subsequence of `order`."""
    rest = iter(order)
    return all(any(key == wanted for wanted in rest) for key in keys)
