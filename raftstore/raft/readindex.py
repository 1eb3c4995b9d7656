"""ReadIndex: the leader proves that it still leads, once for all reads that wait (thesis 6.4)."""

from __future__ import annotations

from collections.abc import Callable, Collection

from raftstore.raft import consensus


class ReadRounds:
    """One round at a time; reads that come meanwhile share the next. Pure bookkeeping.

    `begin(round)` asks the others; each `answered` counts one. A finished round passes the commit
    index that was current when it began to all its reads.
    """

    def __init__(self, name: str, voters: Collection[str], begin: Callable[[int], None]) -> None:
        self._name, self.voters, self._begin = name, voters, begin
        self._round = 0
        self._running: list[Callable[[int | None], None]] = []
        self._next: list[Callable[[int | None], None]] = []
        self._index = 0
        self._answers: set[str] = set()

    def add(self, done: Callable[[int | None], None]) -> None:
        """`done(index)`: read once that is applied; `done(None)`: leadership was lost."""
        self._next.append(done)

    def start(self, commit_index: int) -> None:
        """Begin a round if reads wait and none is running."""
        if self._running or not self._next:
            return
        self._running, self._next = self._next, []
        self._round += 1
        self._index, self._answers = commit_index, {self._name}
        self._begin(self._round)
        self._finish_if_confirmed()

    def follow(self, voters: Collection[str]) -> None:
        """The voters are others now: those that have answered may be enough."""
        self.voters = voters
        if self._running:
            self._finish_if_confirmed()

    def answered(self, peer: str, round_number: int) -> None:
        if round_number == self._round and self._running:
            self._answers.add(peer)
            self._finish_if_confirmed()

    def repeat(self) -> None:
        """Ask again: a question may have been lost with its link."""
        if self._running:
            self._begin(self._round)

    def abandon(self) -> None:
        """Leadership was lost."""
        failed = [*self._running, *self._next]
        self._running, self._next = [], []
        for done in failed:
            done(None)

    def _finish_if_confirmed(self) -> None:
        if consensus.is_quorum(self._answers, self.voters):
            finished, self._running = self._running, []
            for done in finished:
                done(self._index)
