"""Rounds by which a leader proves that it still leads, without a network."""

from __future__ import annotations

from raftstore.raft.readindex import ReadRounds


def _rounds(*voters: str) -> tuple[ReadRounds, list[int], list[int | None]]:
    asked: list[int] = []
    told: list[int | None] = []
    rounds = ReadRounds("a", voters, asked.append)
    rounds.add(told.append)
    return rounds, asked, told


def test_reads_are_told_the_commit_index_once_a_majority_has_answered() -> None:
    rounds, asked, told = _rounds("a", "b", "c")
    rounds.start(7)
    assert (asked, told) == ([1], [])
    rounds.answered("b", 1)
    assert told == [7]


def test_an_answer_to_an_earlier_round_proves_nothing() -> None:
    rounds, _, told = _rounds("a", "b", "c")
    rounds.start(7)
    rounds.answered("b", 0)
    assert told == []


def test_a_round_does_not_wait_for_a_voter_that_has_left() -> None:
    rounds, _, told = _rounds("a", "b")
    rounds.start(7)
    rounds.follow(("a",))
    assert told == [7]


def test_an_answer_of_a_member_that_does_not_vote_any_more_does_not_count() -> None:
    rounds, _, told = _rounds("a", "b", "c", "d", "e")
    rounds.start(7)
    rounds.answered("b", 1)
    rounds.follow(("a", "c", "d"))
    assert told == []
    rounds.answered("c", 1)
    assert told == [7]


def test_reads_of_a_leader_that_is_deposed_are_told_so() -> None:
    rounds, _, told = _rounds("a", "b", "c")
    rounds.start(7)
    rounds.abandon()
    assert told == [None]
