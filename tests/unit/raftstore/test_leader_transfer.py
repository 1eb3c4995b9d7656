"""Handing over leadership (thesis 3.10)."""

from __future__ import annotations

from typing import Any

from raftstore.raft.interface import Outcome


def _transfer(member: Any, target: str) -> list[bool]:
    ended: list[bool] = []
    member.raft.transfer_leadership(target, ended.append)
    return ended


def test_the_target_leads_after_a_few_messages_and_with_all_entries(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    proposed = [a.propose(b"e%d" % number) for number in range(50)]
    ended = _transfer(a, "C")
    net.run(rounds=10, step_s=0.01)
    assert ended == [True]
    assert net["C"].raft.is_leader
    assert a.raft.leader == "C"
    assert all(outcome[0][0] is Outcome.APPLIED for outcome in proposed)
    assert len(net["C"].applied) == 50


def test_no_write_is_taken_meanwhile_and_again_after_a_transfer_that_failed(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.connect_only("AB")
    ended = _transfer(a, "C")
    assert a.propose(b"early") == [(Outcome.REFUSED, None)]
    net.run("AB", rounds=130, step_s=0.1)
    assert ended == [False]
    assert a.raft.is_leader
    proposed = a.propose(b"late")
    net.run("AB")
    assert proposed[0][0] is Outcome.APPLIED


def test_a_target_that_lags_is_caught_up_first(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.connect_only("AB")
    for number in range(200):
        a.propose(b"e%d" % number)
    net.run("AB")
    ended = _transfer(a, "C")
    net.connect_only("ABC")
    a.raft.link_up("C")
    net.run()
    assert ended == [True]
    assert len(net["C"].commands()) == 200


def test_a_lost_question_is_asked_again(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.run()
    ended = _transfer(a, "B")
    a.turn()
    assert any(b"timeout_now" in message for message in net.queues["A", "B"])
    net.queues["A", "B"].clear()
    net.run(rounds=20)
    assert ended == [True]


def test_only_the_leader_of_the_term_can_make_a_member_campaign(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net["B"].raft.receive("C", {"type": "timeout_now", "term": a.raft.term})
    net["B"].raft.receive("A", {"type": "timeout_now", "term": a.raft.term - 1})
    net.run()
    assert a.raft.is_leader


def test_a_follower_or_an_unknown_target_fails_at_once(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    assert _transfer(net["B"], "C") == [False]
    assert _transfer(a, "X") == [False]
    assert _transfer(a, "A") == [False]


def test_a_second_transfer_ends_the_first(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    first, second = _transfer(a, "B"), _transfer(a, "C")
    net.run()
    assert (first, second) == ([False], [True])


def test_the_best_successor_answers_and_has_most(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    assert net["B"].raft.best_successor() is None
    net.connect_only("AC")
    a.propose(b"x")
    net.run("AC")
    assert a.raft.best_successor() == "C"
    net.clock.now_s += 20
    assert a.raft.best_successor() is None
