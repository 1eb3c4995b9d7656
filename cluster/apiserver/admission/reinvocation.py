"""Who of those that change objects is asked a second time, because another has changed one."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from cluster.apiserver.admission.chain import Review
from cluster.machinery.codec import json_codec


@dataclass
class Invoked:
    """Of one write and one plugin: who may be asked again, who must be, what the object was."""

    before: dict[Hashable, None] = field(default_factory=dict)
    again: set[Hashable] = field(default_factory=set)
    output: bytes = b""

    def skips(self, review: Review, who: Hashable) -> bool:
        return review.rounds.second and who not in self.again

    def note(self, review: Review, who: Hashable, *, changed: bool, if_needed: bool) -> None:
        """After `who` was asked."""
        if changed:
            self.again.update(self.before)
            review.rounds.again = True
        if if_needed:
            self.before[who] = None

    def end(self, review: Review) -> None:
        """After all of a round."""
        self.output = _text(review)


def begin(review: Review, plugin: str) -> Invoked:
    """At the start of a plugin's round: what others have changed since is for all to see."""
    invoked: Invoked = review.rounds.kept.setdefault(plugin, Invoked())
    if review.rounds.second and _text(review) != invoked.output:
        invoked.again.update(invoked.before)
    return invoked


def _text(review: Review) -> bytes:
    return b"" if review.new is None else json_codec.encode(review.new)
