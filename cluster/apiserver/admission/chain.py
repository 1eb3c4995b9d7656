"""The chain itself: every write passes the mutating plugins, then the validating ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cluster.apiserver.authn.user import User
from cluster.machinery.resources import Resource

Object = dict[str, Any]
Operation = Literal["create", "update", "delete", "connect"]


@dataclass(slots=True)
class Rounds:
    """What plugins that call others keep between the two rounds of the mutating phase.

    A plugin sets `again` when something outside has changed the object: the phase then runs a
    second time, with `second` set. `kept` is theirs, by the name of the plugin.
    """

    second: bool = False
    again: bool = False
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Review:
    """One write. `new` is None for a deletion, `old` for a creation.

    `new` may be changed, in place, by mutating plugins. `options` are the request's, as in
    CreateOptions and the like. What is put into `warnings` the client is told, and
    `annotations` are for the audit log.
    """

    operation: Operation
    resource: Resource
    subresource: str
    namespace: str
    name: str
    new: Object | None
    old: Object | None
    user: User
    dry_run: bool
    warnings: list[str] = field(default_factory=list)
    options: Mapping[str, Any] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    rounds: Rounds = field(default_factory=Rounds)

    def warn(self, text: str) -> None:
        """Tell the client, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def creates(self, plural: str, group: str = "") -> Object | None:
        """The new object, if this creates one of these."""
        resource = self.resource
        if self.operation != "create" or self.subresource or resource.plural != plural:
            return None
        return self.new if resource.group == group else None


Plugin = Callable[[Review], Awaitable[None]]


class Chain:
    """Runs plugins in order; the first to raise ApiError refuses the write."""

    def __init__(self, mutating: Sequence[Plugin], validating: Sequence[Plugin] = ()) -> None:
        self._mutating, self._validating = tuple(mutating), tuple(validating)

    async def run(self, review: Review) -> None:
        """Both phases at once, for what is not stored."""
        await self.mutate(review)
        await self.validate(review)

    async def mutate(self, review: Review) -> None:
        """Let plugins change the object; twice if one outside the server has done so."""
        for plugin in self._mutating:
            await plugin(review)
        if review.rounds.again:
            review.rounds.second = True
            for plugin in self._mutating:
                await plugin(review)

    async def validate(self, review: Review) -> None:
        """Judge the object that will be stored: nothing changes it any more."""
        for plugin in self._validating:
            await plugin(review)
