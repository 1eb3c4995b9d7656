"""Bugs in replication, elections and linearizable reads."""

from __future__ import annotations

from typing import Any

from actors.simulation.patching import Patch, replace, several
from raftstore.member import Member
from raftstore.raft import consensus, node, pysync


def _stock_truncation(original: Any) -> Any:
    return lambda log, entries: entries


def _no_read_index(original: Any) -> Any:
    return lambda self, done: done(self.raft.is_leader)


def _local_reads(original: Any) -> Any:
    return lambda self, operation, serializable, answer: original(self, operation, True, answer)


def _hasty_reads(original: Any) -> Any:
    return property(lambda self: self.is_leader)


def _minority_commit(original: Any) -> Any:
    def committed(matches: Any, commit_index: int, term: int, term_at: Any) -> int:
        highest = max(*matches, commit_index)
        return highest if term_at(highest) == term else commit_index

    return committed


def _unmatched_commit(original: Any) -> Any:
    def decide(log: Any, commit_index: int, previous: Any, entries: Any, leader_commit: int) -> Any:
        found = original(log, commit_index, previous, entries, leader_commit)
        last = found.new_entries[-1][1] if found.new_entries else log.last_index
        return found._replace(commit_index=max(found.commit_index, min(leader_commit, last)))

    return decide


def _any_vote(original: Any) -> Any:
    return lambda voted_for, candidate, own, theirs: True


def _short_logs_win(original: Any) -> Any:
    return lambda voted_for, candidate, own, theirs: voted_for in (None, candidate)


def _short_logs_may_try(original: Any) -> Any:
    return lambda current, term, own, theirs, alive: term > current and not alive


PLANTED: dict[str, Patch] = {
    "stock truncation": replace(consensus, "_skip_present", _stock_truncation),
    "no read index": replace(node.RaftNode, "read_barrier", _no_read_index),
    "reads from the local state": replace(Member, "read", _local_reads),
    "reads before an entry of the own term": replace(
        pysync.SafeSyncObj, "is_established", _hasty_reads
    ),
    "commit by a minority": replace(consensus, "committed_index", _minority_commit),
    "a follower commits what it did not match": replace(
        consensus, "decide_append", _unmatched_commit
    ),
    "votes for anybody": replace(consensus, "grants_vote", _any_vote),
    "votes for shorter logs": several(
        replace(consensus, "grants_vote", _short_logs_win),
        replace(consensus, "grants_pre_vote", _short_logs_may_try),
    ),
}
