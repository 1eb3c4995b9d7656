"""Members change one at a time, through the log (thesis chapter 4)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from raftstore.errors import (
    LearnerNotReady,
    MemberExists,
    MemberNotFound,
    MemberNotLearner,
    NotEnoughStarted,
    PeerAddressExists,
    TooManyLearners,
    UnhealthyCluster,
)
from raftstore.raft.consensus import Position
from raftstore.raft.interface import Outcome
from raftstore.raft.membership import Configuration, Peer

Change = Callable[[Configuration], Configuration]


def at(address: str, name: str = "") -> Peer:
    return Peer((address,), name)


ALL = "ABCDEFGH"
ABC = Configuration.of({"A": at("a:1", "A"), "B": at("b:1", "B"), "C": at("c:1", "C")})


def adding(name: str, *, learner: bool = True) -> Change:
    return lambda configuration: configuration.adding(name, at(name, name), learner=learner)


def voting(name: str) -> Change:
    """Added as a voter, or let in as one if it was."""
    return lambda configuration: (
        configuration.admitting(name)
        if name in configuration.joining
        else adding(name, learner=False)(configuration)
    )


def promoting(name: str) -> Change:
    return lambda configuration: configuration.promoting(name)


def removing(name: str) -> Change:
    return lambda configuration: configuration.removing(name)


def change(member: Any, how: Change) -> list[Outcome]:
    outcomes: list[Outcome] = []
    member.raft.change_members(how, lambda outcome, _: outcomes.append(outcome))
    return outcomes


def grow(net: Any, leader: Any, name: str) -> None:
    """Add a member as learner and promote it."""
    net.join(name)
    assert change(leader, adding(name)) == []
    net.run()
    promoted = change(leader, promoting(name))
    net.run()
    assert promoted == [Outcome.APPLIED]


def test_a_configuration_says_what_cannot_be_changed() -> None:
    learning = ABC.adding("D", at("d:1"))
    assert learning.learners == {"D": at("d:1")}
    assert [*learning.promoting("D").voters] == ["A", "B", "C", "D"]
    joining = ABC.adding("D", at("d:1"), learner=False)
    assert joining.joining == ["D"]
    assert joining.admitting("D").voters["D"] == at("d:1")
    assert ABC.moving("B", ["b:2"]).voters["B"] == at("b:2", "B")
    assert ABC.removing("B").removed == ("B",)
    told = Peer(("elsewhere:1",), "dora", ("d:2",), ("http://d:3",), 7)
    assert learning.publishing({"D": told, "X": told}).learners["D"] == Peer(
        ("d:1",), "dora", ("d:2",), ("http://d:3",), 7
    )
    for broken, error in [
        (lambda: ABC.adding("A", at("x:1")), MemberExists),
        (lambda: ABC.removing("B").adding("B", at("x:1")), MemberExists),
        (lambda: ABC.adding("D", at("a:1")), PeerAddressExists),
        (lambda: learning.adding("E", at("e:1")), TooManyLearners),
        (lambda: ABC.promoting("A"), MemberNotLearner),
        (lambda: joining.promoting("D"), MemberNotLearner),
        (lambda: ABC.promoting("X"), MemberNotFound),
        (lambda: ABC.removing("X"), MemberNotFound),
        (lambda: ABC.moving("B", ["a:1"]), PeerAddressExists),
        (lambda: Configuration.of({"A": at("a:1")}).removing("A"), NotEnoughStarted),
    ]:
        with pytest.raises(error):
            broken()
    assert Configuration.unpack(learning.pack()) == learning


def test_a_learner_gets_the_log_and_counts_for_no_quorum(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    a.propose(b"before")
    net.run()
    d = net.join("D")
    added = change(a, adding("D"))
    net.run()
    assert added == [Outcome.APPLIED]
    assert d.applied == [b"before"]
    net.connect_only("AD")
    proposed = a.propose(b"x")
    net.run()
    assert proposed == []
    d.raft._expect_election(0.0)
    net.run("D", rounds=5)
    assert d.raft.term == a.raft.term


def test_a_learner_is_promoted_once_it_has_caught_up_and_then_votes(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    for number in range(50):
        a.propose(b"%d" % number)
    net.run()
    net.join("D")
    net.connect_only("ABC")
    change(a, adding("D"))
    net.run()
    with pytest.raises(LearnerNotReady):
        change(a, promoting("D"))
    net.connect_only("ABCD")
    net.run()
    promoted = change(a, promoting("D"))
    net.run()
    assert promoted == [Outcome.APPLIED]
    net.connect_only("AB", "CD")
    proposed = a.propose(b"two of four are no majority")
    net.run()
    assert proposed == []


def test_only_one_change_is_under_way_at_a_time(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.connect_only("A", "BC")
    first = change(a, adding("D"))
    with pytest.raises(UnhealthyCluster, match="under way"):
        change(a, removing("B"))
    net.connect_only("ABC")
    net.run()
    assert first == [Outcome.APPLIED]
    assert change(a, removing("D")) == []


def test_no_change_before_an_entry_of_the_own_term_is_committed(cluster: Any) -> None:
    net = cluster("ABC")
    a, b = net.elect("A"), net["B"]
    with pytest.raises(UnhealthyCluster):
        change(b, adding("D"))
    a.raft._noop_index = a.wal.last_index + 1
    with pytest.raises(UnhealthyCluster):
        change(a, adding("D"))


def test_a_removed_follower_is_told_and_the_others_need_it_no_more(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.run()
    removed = change(a, removing("C"))
    net.run()
    assert removed == [Outcome.APPLIED]
    assert net["C"].removed
    assert [*a.raft.voters] == [*net["B"].raft.voters] == ["A", "B"]
    assert set(a.raft.progress) == {"B"}
    net["C"].raft._expect_election(0.0)
    net.run("C", rounds=3)
    assert a.raft.is_leader


def test_a_leader_that_removes_itself_is_not_counted_and_another_leads(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.run()
    net.connect_only("AB")
    removed = change(a, removing("A"))
    net.run()
    assert removed == []
    net.connect_only("ABC")
    net.run(rounds=40)
    assert removed == [Outcome.APPLIED]
    assert a.removed
    assert not a.raft.is_leader
    [leader] = [name for name in "BC" if net[name].raft.is_leader]
    proposed = net[leader].propose(b"x")
    net.run("BC")
    assert proposed[0][0] is Outcome.APPLIED


def test_a_change_that_leaves_too_few_alive_is_refused_and_one_that_helps_is_not(
    cluster: Any,
) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.connect_only("AB")
    net.run("AB", rounds=110, step_s=0.1)
    with pytest.raises(UnhealthyCluster, match="1 of the 2"):
        change(a, removing("B"))
    removed = change(a, removing("C"))
    net.run("AB")
    assert removed == [Outcome.APPLIED]


def test_a_configuration_that_is_truncated_counts_no_more(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.run()
    net.connect_only("A", "BC")
    lost = change(a, removing("C"))
    a.turn()
    assert "C" not in a.raft.voters
    b = net.elect("B", "BC")
    b.propose(b"x")
    net.lose()
    net.connect_only("ABC")
    b.raft.link_up("A")
    net.run()
    assert [*a.raft.voters] == ["A", "B", "C"]
    assert lost == [Outcome.UNKNOWN]


def test_the_members_survive_power_loss(cluster: Any) -> None:
    net = cluster("ABC")
    grow(net, net.elect("A"), "D")
    for name in "ABCD":
        net.lose()
        assert [*net.restart(name).raft.voters] == ["A", "B", "C", "D"]
    net.elect("D")


def test_a_snapshot_carries_the_configuration_of_its_position(cluster: Any) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.run()
    before = a.raft.applied_index
    grow(net, a, "D")
    assert [*a.raft.configuration_at(before).voters] == ["A", "B", "C"]
    position = Position(a.raft.term, a.raft.applied_index)
    configuration = a.raft.configuration_at(position.index)
    assert [*configuration.voters] == ["A", "B", "C", "D"]
    e = net.join("E")
    e.raft.installed(position, configuration)
    assert [*e.raft.voters] == ["A", "B", "C", "D"]
    assert e.raft.configuration_at(position.index) == configuration


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_under_partitions_lose_nothing_that_was_acknowledged(
    cluster: Any, seed: int
) -> None:
    print(f"seed {seed}")
    rng, net = random.Random(seed), cluster("ABC")
    net.elect("A")
    for name in "DEFGH":
        net.join(name)
    acknowledged: list[bytes] = []
    changed: list[Outcome] = []
    for step in range(200):
        if rng.random() < 0.2:
            net.connect_only(*rng.choice([(ALL,), ("ABC", "DEFGH"), ("AB", "CDEFG"), ("ABDEG",)]))
            net.relink()
        if rng.random() < 0.1:
            name = rng.choice(net.names)
            for link in [link for link in net.queues if name in link]:
                net.queues[link].clear()
            net.restart(name)
            net.relink()
        if rng.random() < 0.2:
            net.clock.now_s += 13
            net[rng.choice(net.names)].raft._expect_election(0.0)
        for leader in [m for m in net.members.values() if m.raft.is_leader]:
            command = b"%d%s" % (step, leader.name.encode())
            leader.raft.propose(
                command,
                lambda o, _, c=command: acknowledged.append(c) if o is Outcome.APPLIED else None,
            )
            how = rng.choice([adding, voting, promoting, removing])(rng.choice(ALL))
            try:
                leader.raft.change_members(how, lambda o, _: changed.append(o))
            except (UnhealthyCluster, LearnerNotReady, MemberNotFound, MemberNotLearner):
                continue
            except (MemberExists, TooManyLearners, NotEnoughStarted):
                continue
        net.run(rounds=rng.randint(1, 4), step_s=0.2)
    net.connect_only(ALL)
    net.relink()
    net.run(rounds=200, step_s=0.5)
    [leader] = [m for m in net.members.values() if m.raft.is_established]
    assert set(acknowledged) <= set(leader.commands())
    assert all(net[name].applied == leader.applied for name in leader.raft.voters)
    assert Outcome.APPLIED in changed
