"""The audit of PySyncObj 0.3.17 as schedules: each breaks the library and must not break us."""

from __future__ import annotations

import pathlib
import random
from collections.abc import Callable
from typing import Any

import pytest

from raftstore.raft import library
from raftstore.raft.consensus import SafetyViolation
from raftstore.raft.interface import Outcome

MakeCluster = Callable[..., Any]


def test_only_the_audited_file_of_pysyncobj_is_accepted(tmp_path: pathlib.Path) -> None:
    other = tmp_path / "syncobj.py"
    other.write_text("changed")
    with pytest.raises(ImportError, match=r"0\.3\.17"):
        library.verify_library(str(other))
    with pytest.raises(ImportError):
        library.verify_library(version="0.3.18")


def test_t1_a_repeated_append_does_not_remove_acknowledged_entries(cluster: MakeCluster) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.connect_only("AB")
    outcomes = [a.propose(b"e%d" % i) for i in range(3)]
    a.turn()
    repeated = net.queues["A", "B"][0]
    net.run("AB")
    assert all(o == [(Outcome.APPLIED, o[0][1])] for o in outcomes)
    before = net["B"].commands()
    net.queues["A", "B"].appendleft(repeated)
    heartbeat = {
        "type": "append", "term": a.raft.term, "previous_index": 2, "previous_term": a.raft.term,
        "entries": [], "commit": 2,
    }  # fmt: skip
    net["B"].raft.receive("A", heartbeat)
    net.deliver("A", "B")
    assert net["B"].commands() == before == [b"e0", b"e1", b"e2"]


def test_t2_a_divergent_tail_is_never_committed(cluster: MakeCluster) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.connect_only("BC")
    lost = [a.propose(b"lost%d" % i) for i in range(3)]
    a.turn()
    b = net.elect("B", "BC")
    good = [b.propose(b"good%d" % i) for i in range(20)]
    net.run("BC")
    assert all(o[0][0] is Outcome.APPLIED for o in good)
    net.connect_only("ABC")
    b.raft.link_up("A")
    net.run()
    assert not any(command.startswith(b"lost") for command in a.applied)
    assert all(o in ([(Outcome.UNKNOWN, None)], [(Outcome.REFUSED, None)]) for o in lost)
    assert a.applied == b.applied == net["C"].applied


def test_t3_acknowledgements_of_an_older_term_are_not_counted(cluster: MakeCluster) -> None:
    net = cluster("ABCDE")
    a = net.elect("A")
    net.connect_only("A")
    proposed = a.propose(b"x")
    a.turn()
    stale = {
        "type": "append_reply", "term": a.raft.term - 1, "accepted": True,
        "previous": 0, "match": a.wal.last_index,
    }  # fmt: skip
    for peer in "BCDE":
        a.raft.receive(peer, stale)
    a.turn()
    assert proposed == []
    for peer in "BC":
        a.raft.receive(peer, stale | {"term": a.raft.term})
    a.turn()
    assert [outcome for outcome, _ in proposed] == [Outcome.APPLIED]


def test_t4_a_raising_callback_does_not_apply_an_entry_twice(cluster: MakeCluster) -> None:
    net = cluster("ABC")
    a = net.elect("A")

    def callback(outcome: Outcome, result: Any) -> None:
        raise RuntimeError("the client went away")

    a.raft.propose(b"once", callback)
    net.run()
    assert [net[n].applied for n in "ABC"] == [[b"once"]] * 3


def test_t5_an_error_in_the_state_machine_is_a_result_not_a_poison_pill(
    cluster: MakeCluster,
) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    boom, after = a.propose(b"boom"), a.propose(b"after")
    net.run()
    assert isinstance(boom[0][1], ValueError)
    assert after[0][0] is Outcome.APPLIED
    assert [net[n].applied for n in "ABC"] == [[b"boom", b"after"]] * 3


def test_t8_a_minority_leader_commits_nothing_and_steps_down(cluster: MakeCluster) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.connect_only("A", "BC")
    proposed = a.propose(b"x")
    net.run("A", rounds=300)
    assert not a.raft.is_leader
    assert proposed == [(Outcome.UNKNOWN, None)]
    assert a.applied == []


def test_t16_a_member_that_lost_its_links_does_not_depose_the_leader(cluster: MakeCluster) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    term = a.raft.term
    net.connect_only("AB")
    for _ in range(5):
        net["C"].raft._expect_election(0.0)
        net.run(rounds=3)
    net.connect_only("ABC")
    net.run()
    assert a.raft.is_leader
    assert a.raft.term == term
    assert net["C"].raft.leader == "A"


def test_t20_a_long_divergent_tail_is_replaced_in_a_few_round_trips(cluster: MakeCluster) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.connect_only("BC")
    for i in range(300):
        a.propose(b"lost%d" % i)
    a.turn()
    b = net.elect("B", "BC")
    b.propose(b"kept")
    net.connect_only("ABC")
    b.raft.link_up("A")
    net.run(rounds=10)
    assert a.commands() == b.commands() == [b"kept"]


def test_5_1_a_leader_of_an_old_term_learns_the_new_one_from_the_refusal(
    cluster: MakeCluster,
) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    net.connect_only("A", "BC")
    net.elect("B", "BC")
    net.connect_only("ABC")
    a.raft.doTick(0)
    net.run()
    assert not a.raft.is_leader
    assert a.raft.term == net["B"].raft.term


def test_votes_of_one_member_count_once_and_strangers_not_at_all(cluster: MakeCluster) -> None:
    net = cluster("ABCDE")
    a = net["A"]
    net.connect_only("A")
    a.raft._campaign()
    for _ in range(5):
        a.raft.receive("B", {"type": "vote_reply", "term": a.raft.term, "granted": True})
    assert not a.raft.is_leader
    a.raft.receive("C", {"type": "vote_reply", "term": a.raft.term, "granted": True})
    assert a.raft.is_leader


def test_a_vote_survives_power_loss(cluster: MakeCluster) -> None:
    net = cluster("ABC")
    request = {"type": "vote", "term": 7, "last_term": 9, "last_index": 99, "by_transfer": False}
    net["B"].raft.receive("A", request)
    net["B"].turn()
    assert [m for m in net.queues["B", "A"] if b"vote_reply" in m]
    b = net.restart("B")
    b.raft.receive("C", request)
    b.turn()
    assert b.wal.voted_for == "A"
    assert b.raft.term == 7


def test_nothing_is_acknowledged_before_it_is_durable(cluster: MakeCluster) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    acknowledged = a.propose(b"x")
    net.run()
    assert acknowledged[0][0] is Outcome.APPLIED
    for name in "ABC":
        net.lose()
        net.restart(name)
    assert all(net[name].commands() == [b"x"] for name in "ABC")


def test_a_leader_counts_itself_only_when_its_own_log_is_durable(cluster: MakeCluster) -> None:
    net = cluster("A")
    a = net.elect("A")
    proposed = a.propose(b"x")
    a.raft.doTick(0)
    assert proposed == []
    a.wal.sync()
    a.raft.doTick(0)
    assert [outcome for outcome, _ in proposed] == [Outcome.APPLIED]


def test_thesis_4_2_3_a_member_that_hears_its_leader_does_not_vote_for_another(
    cluster: MakeCluster,
) -> None:
    net = cluster("ABC")
    a, b = net.elect("A"), net["B"]
    term = b.raft.term
    request = {
        "type": "vote",
        "term": term + 5,
        "last_term": 99,
        "last_index": 99,
        "by_transfer": False,
    }
    b.raft.receive("C", request)
    assert (b.raft.term, b.wal.voted_for, b.raft.leader) == (term, "A", "A")
    net.clock.now_s += 11
    b.raft.receive("C", request)
    assert (b.raft.term, b.wal.voted_for) == (term + 5, "C")
    assert a.raft.is_leader


def test_two_leaders_in_a_term_stop_the_member(cluster: MakeCluster) -> None:
    net = cluster("ABC")
    a = net.elect("A")
    forged = {
        "type": "append", "term": a.raft.term, "previous_index": 1, "previous_term": 0,
        "entries": [], "commit": 1,
    }  # fmt: skip
    with pytest.raises(SafetyViolation):
        a.raft.receive("B", forged)


def _disturb(net: Any, rng: random.Random) -> None:
    """Cut links, lose messages, cut the power of a member, or let an election time out."""
    action = rng.random()
    if action < 0.15:
        net.connect_only(*rng.choice([("ABC",), ("AB",), ("BC",), ("A", "BC"), ("AB", "C")]))
    elif action < 0.25:
        net.lose()
        net.relink()
    elif action < 0.32:
        name = rng.choice(net.names)
        for link in [link for link in net.queues if name in link]:
            net.queues[link].clear()
        net.restart(name)
        net.relink()
    elif action < 0.5:
        net.clock.now_s += 13
        net[rng.choice(net.names)].raft._expect_election(0.0)


def _propose(net: Any, command: bytes, acknowledged: list[bytes]) -> None:
    def callback(outcome: Outcome, result: Any) -> None:
        if outcome is Outcome.APPLIED:
            acknowledged.append(command)

    for member in net.members.values():
        if member.raft.is_leader:
            member.raft.propose(command + member.name.encode(), callback)


def _heal(net: Any) -> None:
    net.connect_only("ABC")
    net.relink()
    for _ in range(50):
        net.run(rounds=10, step_s=0.5)
        leaders = [m for m in net.members.values() if m.raft.is_established]
        if leaders and len({m.raft.commit_index for m in net.members.values()}) == 1:
            return
    raise AssertionError("no leader after all links were restored")


@pytest.mark.parametrize("seed", range(3))
def test_random_schedules_never_lose_what_was_acknowledged(cluster: MakeCluster, seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    net = cluster("ABC")
    acknowledged: list[bytes] = []
    for step in range(150):
        _disturb(net, rng)
        _propose(net, b"%d" % step, acknowledged)
        net.run(rounds=rng.randint(1, 3), step_s=0.2)
    _heal(net)
    histories = [net[name].commands() for name in net.names]
    assert histories[0] == histories[1] == histories[2]
    assert set(acknowledged) <= {command[:-1] for command in histories[0]}
    assert acknowledged
