"""What a leader knows about one follower's log. Pure; etcd's probe and replicate states."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Progress:
    """`next` is always above `match`; `match` only grows while this leader leads.

    While `probing`, one message at a time looks for where the logs agree; then messages are
    pipelined without waiting for answers.
    """

    match: int
    next: int
    last_reply_s: float
    probing: bool = True
    awaiting: bool = False
    sent_commit: int = 0

    def accepted(self, match: int) -> None:
        self.match = max(self.match, match)
        self.next = max(self.next, self.match + 1)
        self.probing = self.awaiting = False

    def refused(self, previous: int, retry_after: int) -> None:
        """A refusal of the message whose entries came after `previous`; old ones are ignored."""
        stale = previous != self.next - 1 if self.probing else previous <= self.match
        if stale or previous <= self.match:
            return
        self.next = max(self.match + 1, min(previous, retry_after + 1))
        self.probing, self.awaiting = True, False

    def restart(self) -> None:
        """What was in flight may be lost: go back to what is known to have arrived, if anything."""
        self.next = self.match + 1 if self.match else self.next
        self.probing, self.awaiting, self.sent_commit = True, False, 0

    def sent(self, last_index: int) -> None:
        """Entries up to `last_index` went out."""
        self.awaiting = self.probing
        if not self.probing:
            self.next = last_index + 1
