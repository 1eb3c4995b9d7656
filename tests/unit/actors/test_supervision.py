"""Restart decisions, without clock or processes."""

from actors.supervision import Phase, Policy, Supervised

POLICY = Policy(first_delay_s=0.1, delay_max_s=2.0, forgiven_after_s=60.0, probe_misses_max=3)


def crash(state: Supervised, now: float, *, after_s: float = 1.0) -> float:
    state.starting()
    state.started(now)
    return state.exited(now + after_s, "killed")


def test_a_first_failure_is_restarted_almost_at_once():
    assert crash(Supervised(POLICY), 0.0) == 0.1


def test_a_crash_loop_backs_off_up_to_the_bound():
    state = Supervised(POLICY)
    delays = [crash(state, float(second)) for second in range(8)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    assert state.restarts == 8


def test_a_long_healthy_life_is_forgiven_what_came_before():
    state = Supervised(POLICY)
    for second in range(5):
        crash(state, float(second))
    assert crash(state, 100.0, after_s=61.0) == 0.1


def test_a_start_that_fails_counts_as_a_failure():
    state = Supervised(POLICY)
    state.starting()
    assert state.exited(0.0, "port in use") == 0.1
    state.starting()
    assert state.exited(1000.0, "port in use") == 0.2
    assert state.phase is Phase.WAITING
    assert state.last_error == "port in use"


def test_silence_kills_only_after_several_misses_in_a_row():
    state = Supervised(POLICY)
    state.starting()
    assert [state.probed(answered) for answered in (False, False, True, False, False)] == [
        False
    ] * 5
    assert state.probed(False)


def test_an_actor_on_hold_is_not_started_before_its_time():
    state = Supervised(POLICY)
    state.starting()
    state.started(0.0)
    state.hold(31.0)
    assert state.exited(1.0, "killed") == 30.0
