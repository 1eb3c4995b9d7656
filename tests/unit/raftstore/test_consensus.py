"""The rules, section by section of the Raft paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft import consensus
from raftstore.raft.consensus import Position, SafetyViolation


class ListLog:
    """Entries of the given terms at indexes from `first_index` on."""

    def __init__(self, terms: list[int], first_index: int = 1) -> None:
        self.terms, self.first_index = terms, first_index

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.terms) - 1

    def term_at(self, index: int) -> int:
        return self.terms[index - self.first_index]


def entries(first: int, *terms: int) -> list[consensus.Entry]:
    return [(b"", index, term) for index, term in enumerate(terms, first)]


def test_5_3_a_gap_is_refused_with_the_end_of_the_log_as_hint() -> None:
    decision = consensus.decide_append(ListLog([1, 1]), 1, Position(1, 5), [], 5)
    assert (decision.accepted, decision.match_index, decision.commit_index) == (False, 2, 1)


def test_5_3_a_conflict_at_the_previous_entry_is_refused_and_its_term_skipped() -> None:
    log = ListLog([1, 1, 2, 2, 2])
    decision = consensus.decide_append(log, 1, Position(3, 5), [], 0)
    assert (decision.accepted, decision.match_index) == (False, 2)


def test_5_3_only_a_conflicting_entry_truncates() -> None:
    log = ListLog([1, 1, 1, 1])
    repeated = consensus.decide_append(log, 1, Position(1, 1), entries(2, 1), 1)
    assert repeated.truncate_from is None
    assert not repeated.new_entries
    conflicting = consensus.decide_append(log, 1, Position(1, 1), entries(2, 1, 2), 1)
    assert conflicting.truncate_from == 3
    assert [e[1] for e in conflicting.new_entries] == [3]


def test_5_3_commit_follows_the_leader_only_up_to_the_last_new_entry() -> None:
    log = ListLog([1, 1, 1, 1])
    decision = consensus.decide_append(log, 1, Position(1, 1), entries(2, 1), 4)
    assert decision.commit_index == 2
    assert consensus.decide_append(log, 3, Position(1, 1), [], 2).commit_index == 3


def test_5_4_3_a_committed_entry_is_never_truncated() -> None:
    with pytest.raises(SafetyViolation):
        consensus.decide_append(ListLog([1, 1, 1]), 3, Position(1, 1), entries(2, 2), 3)
    with pytest.raises(SafetyViolation):
        consensus.decide_append(ListLog([1, 1, 1]), 3, Position(2, 3), [], 3)


def test_7_entries_before_the_log_are_covered_by_the_snapshot() -> None:
    log = ListLog([2, 2], first_index=10)
    decision = consensus.decide_append(log, 10, Position(1, 7), entries(8, 1, 1, 2, 2, 3), 12)
    assert decision.accepted
    assert [e[1] for e in decision.new_entries] == [12]
    assert decision.commit_index == 12


def test_5_2_one_vote_per_term_and_5_4_1_only_for_an_up_to_date_log() -> None:
    own = Position(2, 5)
    assert consensus.grants_vote(None, "B", own, Position(2, 5))
    assert consensus.grants_vote("B", "B", own, Position(3, 1))
    assert not consensus.grants_vote("C", "B", own, Position(3, 9))
    assert not consensus.grants_vote(None, "B", own, Position(2, 4))
    assert not consensus.grants_vote(None, "B", own, Position(1, 9))


def test_thesis_9_6_no_pre_vote_while_a_leader_is_alive_or_for_an_old_term() -> None:
    own = Position(2, 5)
    assert consensus.grants_pre_vote(2, 3, own, own, leader_is_alive=False)
    assert not consensus.grants_pre_vote(2, 3, own, own, leader_is_alive=True)
    assert not consensus.grants_pre_vote(3, 3, own, own, leader_is_alive=False)


def test_5_4_2_only_entries_of_the_own_term_are_committed_by_counting() -> None:
    terms = {1: 1, 2: 2, 3: 4}
    assert consensus.committed_index([2, 2, 1], 1, 4, terms.__getitem__) == 1
    assert consensus.committed_index([3, 3, 1], 1, 4, terms.__getitem__) == 3


@pytest.mark.parametrize(("members", "majority"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_quorum_is_a_majority_of_distinct_members(members: int, majority: int) -> None:
    names = [str(i) for i in range(members)]
    assert consensus.is_quorum(names[:majority], names)
    assert not consensus.is_quorum(names[: majority - 1] * 3 + ["stranger"], names)


@given(st.data())
def test_appending_what_a_leader_has_always_makes_the_logs_equal(data: st.DataObject) -> None:
    leader = sorted(data.draw(st.lists(st.sampled_from([2, 4, 6]), min_size=1, max_size=8)))
    shared = data.draw(st.integers(1, len(leader)))
    other_terms = [term for term in (1, 3, 5, 7) if term > leader[shared - 1]]  # one leader each
    tail = sorted(data.draw(st.lists(st.sampled_from(other_terms), max_size=5)))
    follower = ListLog(leader[:shared] + tail)
    next_index = len(leader) + 1
    for _ in range(30):
        previous = Position(leader[next_index - 2], next_index - 1)
        new = entries(next_index, *leader[next_index - 1 :])
        decision = consensus.decide_append(follower, 1, previous, new, 0)
        if decision.accepted:
            if decision.truncate_from:
                follower.terms = follower.terms[: decision.truncate_from - 1]
            follower.terms += [term for _, _, term in decision.new_entries]
            break
        assert decision.match_index < next_index - 1
        next_index = decision.match_index + 1
    assert follower.terms[: len(leader)] == leader
