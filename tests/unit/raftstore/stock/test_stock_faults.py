"""Faults of PySyncObj 0.3.17, each as a schedule that both it and our consensus go through.

`system.expect(kept)` fails if ours breaks the promise and also if the library keeps it. The
numbers t1 to t20 are those of the audit that the overrides in `raftstore.raft.pysync` answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from typing import Any

import pytest

from raftstore.errors import UnhealthyCluster
from raftstore.raft.interface import Outcome


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)


def _applied(outcomes: list[tuple[Outcome, Any]]) -> bool:
    return [outcome for outcome, _ in outcomes] == [Outcome.APPLIED]


def _repeat_an_old_append(net: Any) -> None:
    """A and B replicate three commands; then a message of the first one reaches B again."""
    a = net.elect("A")
    net.connect_only("AB")
    outcomes = [a.propose(b"e0")]
    for _ in range(3):
        net.clock.now_s += 0.2
        a.turn()
    repeated = list(net.queues["A", "B"])
    net.run("AB")
    outcomes += [a.propose(b"e1"), a.propose(b"e2")]
    net.run("AB")
    assert all(map(_applied, outcomes))
    net.queues["A", "B"].extend(repeated)
    net.deliver("A", "B")


def test_t1_a_repeated_append_removes_nothing_that_was_acknowledged(system: Any) -> None:
    net = system.cluster()
    _repeat_an_old_append(net)
    system.expect(net["B"].commands() == [b"e0", b"e1", b"e2"])


def test_t1_acknowledged_commands_outlive_the_leader(system: Any) -> None:
    net = system.cluster()
    _repeat_an_old_append(net)
    net.connect_only("A", "BC")
    net.lose()
    net.elect("B", "BC")
    net.run("BC")
    system.expect(net["C"].applied == [b"e0", b"e1", b"e2"])


def test_the_commit_index_never_goes_back(system: Any) -> None:
    net = system.cluster()
    a = net.elect("A")
    a.propose(b"x")
    net.run()
    _repeat_an_old_append(net)
    system.expect(net["B"].raft.commit_index >= len(net["B"].applied) + 2)


def test_t2_what_a_member_never_matched_with_its_leader_is_not_applied(system: Any) -> None:
    """A leader that was cut off comes back while the new one sends it a snapshot."""
    net = system.cluster()
    a = net.elect("A")
    net.connect_only("A", "BC")
    outcomes = [a.propose(b"lost%d" % number) for number in range(3)]
    net.run("A", rounds=3)
    net.lose()
    b = net.elect("B", "BC")
    for number in range(20):
        b.propose(b"good%d" % number)
    net.run("BC")
    net["B"].compact()
    net.run("BC")
    net.lose()
    net.connect_only("ABC")
    for _ in range(200):
        net.clock.now_s += 0.02
        for name in "ABC":
            net[name].turn()
        for link in list(net.queues):
            net.deliver(*link, 1)
    kept = not any(map(_applied, outcomes))
    system.expect(kept and not any(command.startswith(b"lost") for command in a.applied))


def test_t3_acknowledgements_of_an_older_term_do_not_commit(system: Any) -> None:
    """B's answers of the first term arrive in the third, when A's log has other entries."""
    net = system.cluster("ABCDE")
    a = net.elect("A")
    net.connect_only("AB")
    for number in range(10):
        a.propose(b"x%d" % number)
    for _ in range(10):
        net.clock.now_s += 0.1
        for name in "AB":
            net[name].turn()
        net.deliver("A", "B")
    delayed = net.queues.pop(("B", "A"))
    net.connect_only("CDE")
    net.elect("D", "CDE")
    net.lose()
    net.connect_only("AD")
    net.run("AD", rounds=60)
    assert not a.commands()
    net.lose()
    net.connect_only("ACE")
    net.elect("A", "ACE")
    net.lose()
    net.connect_only("AC")
    outcomes = [a.propose(b"y%d" % number) for number in range(4)]
    net.run("AC")
    assert not any(outcomes)
    net.queues["B", "A"] = delayed
    net.deliver("B", "A")
    net.run("AC", rounds=5)
    system.expect(not any(outcomes))


def test_t4_a_raising_callback_does_not_apply_a_command_twice(system: Any) -> None:
    net = system.cluster()
    a = net.elect("A")

    def callback(outcome: Outcome, result: Any) -> None:
        raise RuntimeError("the client went away")

    a.raft.propose(b"once", callback)
    net.run()
    system.expect([net[name].applied for name in "ABC"] == [[b"once"]] * 3)


def test_t5_an_error_in_the_state_machine_is_applied_once_and_holds_up_nothing(
    system: Any,
) -> None:
    net = system.cluster()
    a = net.elect("A")
    a.propose(b"boom")
    after = a.propose(b"after")
    net.run(rounds=40)
    system.expect(_applied(after) and net["B"].applied == [b"boom", b"after"])


def test_t8_a_leader_without_a_majority_cannot_remove_the_others_and_go_on_alone(
    system: Any,
) -> None:
    net = system.cluster()
    a = net.elect("A")
    net.run()
    net.connect_only("A", "BC")
    for name in "BC":
        if system.stock:
            a.raft.remove_member(name)
        else:
            with contextlib.suppress(UnhealthyCluster):
                a.raft.change_members(lambda c, n=name: c.removing(n), lambda *_: None)
    net.run("A", rounds=5)
    proposed = a.propose(b"alone")
    net.run("A", rounds=20)
    system.expect(not _applied(proposed))


def test_t9_a_command_of_any_size_reaches_the_followers(system: Any) -> None:
    """Sizes around twice what the library puts into one message."""
    raised = 0
    for size_bytes in range(8100, 8180, 10):
        net = system.cluster(appendEntriesBatchSizeBytes=4096)
        outcomes = net.elect("A").propose(b"x" * size_bytes)
        for _ in range(5):
            net.clock.now_s += 0.1
            for name in "ABC":
                net[name].turn()
            for link in list(net.queues):
                while net.queues[link]:
                    try:
                        net.deliver(*link, 1)
                    except Exception:
                        raised += 1
        assert system.stock or _applied(outcomes)
    system.expect(raised == 0)


def test_t10_a_leader_that_is_cut_off_steps_down_within_an_election_timeout(system: Any) -> None:
    net = system.cluster()
    a = net.elect("A")
    net.connect_only("A", "BC")
    net.run("A", rounds=125, step_s=0.1)
    system.expect(not a.raft.is_leader)


def test_t13_a_proposal_at_a_follower_is_answered_even_if_its_link_breaks(system: Any) -> None:
    net = system.cluster()
    net.elect("A")
    outcomes = net["C"].propose(b"forwarded")
    net["C"].turn()
    net.lose()
    net.run(rounds=200)
    system.expect(outcomes == [(Outcome.REFUSED, None)])


def test_a_leader_that_hands_over_takes_no_writes_that_it_would_lose(system: Any) -> None:
    net = system.cluster()
    a = net.elect("A")
    net.run()
    (a.raft.transferLeadership if system.stock else a.raft.transfer_leadership)(
        "B", lambda *_: None
    )
    outcomes = a.propose(b"late")
    system.expect(outcomes == [(Outcome.REFUSED, None)])


def test_t16_a_member_that_lost_its_links_does_not_depose_the_leader(system: Any) -> None:
    net = system.cluster()
    a = net.elect("A")
    term = a.raft.term
    net.connect_only("AB")
    for _ in range(5):
        net["C"].raft._expect_election(0.0)
        net.run(rounds=3)
    net.connect_only("ABC")
    net["C"].raft._expect_election(0.0)
    net.run()
    system.expect(a.raft.is_leader and a.raft.term == term)


def test_t18_a_leader_is_not_ready_before_an_entry_of_its_own_term_is_committed(
    system: Any,
) -> None:
    net = system.cluster()
    net.elect("A").propose(b"x")
    net.run()
    net.connect_only("BC")
    for member in net.members.values():
        member.raft._leader_seen_s = float("-inf")
    b = net["B"]
    b.raft._expect_election(0.0)
    while not b.raft.is_leader:
        net.clock.now_s += 0.01
        for name in "BC":
            net[name].turn()
        net.deliver("B", "C")
        net.deliver("C", "B")
    net.connect_only("B")
    net.lose()
    b.turn()
    system.expect(not b.raft.is_established)


def test_t19_a_proposal_that_raises_is_not_applied_later(system: Any) -> None:
    """More proposals between two ticks than a pipe has room for."""
    net = system.cluster("A", appendEntriesUseBatch=False)
    a = net.elect("A")
    told: dict[bytes, list[tuple[Outcome, Any]]] = {}
    raised: list[bytes] = []
    for number in range(70_000):
        command = b"%d" % number
        try:
            told[command] = a.propose(command)
        except Exception:
            raised.append(command)
            break
    net.run(rounds=300)
    applied = [command for command, outcomes in told.items() if _applied(outcomes)]
    assert system.stock or (applied == a.applied and all(map(len, told.values())))
    system.expect(not set(raised) & set(a.applied))


def test_t20_a_long_divergent_tail_is_replaced_in_a_few_round_trips(system: Any) -> None:
    net = system.cluster()
    a = net.elect("A")
    net.connect_only("A", "BC")
    for number in range(300):
        a.propose(b"lost%d" % number)
    net.run("A", rounds=3)
    b = net.elect("B", "BC")
    for number in range(300):
        b.propose(b"kept%d" % number)
    net.run("BC")
    net.lose()
    net.connect_only("ABC")
    net.run(rounds=40)
    system.expect(a.commands() == b.commands())


def test_a_vote_that_is_repeated_counts_once(system: Any) -> None:
    net = system.cluster("ABCDE")
    net.connect_only("AB")
    a = net["A"]
    a.raft._expect_election(0.0)
    for _ in range(4):
        net.clock.now_s += 0.01
        a.turn()
        net.deliver("A", "B")
        net["B"].turn()
        net.queues["B", "A"].extend([*net.queues["B", "A"]] * 4)
        net.deliver("B", "A")
    system.expect(not a.raft.is_leader)


class _Explosive:
    def __reduce__(self) -> Any:
        return exec, ("import os; os.environ['RAYKUBE_EXECUTED'] = 'yes'",)


def test_what_is_replicated_is_never_executed(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYKUBE_EXECUTED", "no")
    net = system.cluster()
    a, command = net.elect("A"), pickle.dumps(_Explosive())
    if system.stock:
        a.raft._applyCommand(command, None, 0)
    else:
        a.propose(command)
    net.run()
    system.expect(os.environ["RAYKUBE_EXECUTED"] == "no")
