"""The chain itself: every function sees every write, in order, and may change or refuse it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cluster.apiserver.authn.user import User
from cluster.machinery.resources import Resource

Object = dict[str, Any]
Operation = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Review:
    """One write. `new` is None for a deletion, `old` for a creation; `new` may be changed."""

    operation: Operation
    resource: Resource
    subresource: str
    namespace: str
    name: str
    new: Object | None
    old: Object | None
    user: User
    dry_run: bool


Plugin = Callable[[Review], Awaitable[None]]


class Chain:
    """Runs plugins in order; the first to raise ApiError refuses the write."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = tuple(plugins)

    async def run(self, review: Review) -> None:
        for plugin in self._plugins:
            await plugin(review)
