"""What the pod worker decides and reports, with a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cluster.kubelet import backoff, pod_status, pod_worker, probes
from cluster.kubelet.backoff import Backoff, Limits
from cluster.kubelet.pod_worker import (
    Decision,
    Finished,
    Health,
    Kill,
    Observed,
    Start,
    StartFailure,
)
from cluster.kubelet.runtimes.base import Container

NOW_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def pod(*names: str, init: Any = (), **spec: Any) -> dict[str, Any]:
    containers = [{"name": name, "image": "x"} for name in names or ("main",)]
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"containers": containers, "initContainers": list(init), **spec},
        "status": {},
    }


def running(name: str = "main", attempt: int = 0) -> Container:
    return Container("u", name, attempt, f"{name}-{attempt}", "/log", True, NOW_S)


def ended(name: str = "main", code: int = 1, attempt: int = 0, at_s: float = NOW_S) -> Container:
    reason = "Error" if code else "Completed"
    done = replace(running(name, attempt), running=False, finished_at_s=at_s)
    return replace(done, exit_code=code, reason=reason)


def healthy(*containers: Container) -> Observed:
    health = {c.container_id: Health() for c in containers if c.running}
    return Observed(containers, health, pod_ip="127.8.1.2")


def decide(obj: dict[str, Any], observed: Observed, now_s: float = NOW_S) -> Decision:
    return pod_worker.decide(obj, observed, now_s, Limits())


def status(obj: dict[str, Any], observed: Observed, now_s: float = NOW_S) -> dict[str, Any]:
    return pod_status.build(obj, observed, decide(obj, observed, now_s), now_s, "127.8.1.1")


def condition(found: dict[str, Any], type_: str) -> tuple[str, str]:
    entry = next(c for c in found["conditions"] if c["type"] == type_)
    return entry["status"], entry.get("reason", "")


def test_all_containers_of_a_new_pod_start() -> None:
    assert decide(pod("a", "b"), Observed()).actions == (Start("a", 0), Start("b", 0))
    found = status(pod("a", "b"), Observed())
    assert found["phase"] == "Pending"
    assert [s["state"] for s in found["containerStatuses"]] == [
        {"waiting": {"reason": "ContainerCreating"}}
    ] * 2


def test_init_containers_run_one_after_another_before_the_others() -> None:
    obj = pod("main", init=[{"name": "i1"}, {"name": "i2"}])
    assert decide(obj, Observed()).actions == (Start("i1", 0),)
    assert decide(obj, healthy(running("i1"))).actions == ()
    assert decide(obj, healthy(ended("i1", 0))).actions == (Start("i2", 0),)
    both = [ended("i1", 0), ended("i2", 0)]
    assert decide(obj, healthy(*both)).actions == (Start("main", 0),)
    waiting = status(obj, healthy(ended("i1", 0)))
    assert waiting["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    assert condition(waiting, "Initialized") == ("False", "ContainersNotInitialized")
    assert condition(status(obj, healthy(*both)), "Initialized") == ("True", "")


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    obj = pod("main", init=[{"name": "i1"}], restartPolicy="Never")
    assert decide(obj, healthy(ended("i1"))).actions == (Finished(),)
    assert status(obj, healthy(ended("i1")))["phase"] == "Failed"
    again = pod("main", init=[{"name": "i1"}], restartPolicy="OnFailure")
    (start,) = decide(again, healthy(ended("i1"))).actions
    assert isinstance(start, Start)
    assert (start.name, start.attempt) == ("i1", 1)


def test_a_sidecar_must_be_started_before_the_rest_and_is_restarted() -> None:
    obj = pod("main", init=[{"name": "side", "restartPolicy": "Always"}], restartPolicy="Never")
    slow = Observed((running("side"),), {"side-0": Health(started=False)})
    assert decide(obj, slow).actions == ()
    assert decide(obj, healthy(running("side"))).actions == (Start("main", 0),)
    (start,) = decide(obj, healthy(ended("side", 0), running())).actions
    assert isinstance(start, Start)
    assert start.name == "side"


def test_sidecars_end_in_reverse_order_after_the_containers() -> None:
    sides = [{"name": name, "restartPolicy": "Always"} for name in ("s1", "s2")]
    obj = pod("main", init=sides, restartPolicy="Never")
    both = [running("s1"), running("s2")]
    (kill,) = decide(obj, healthy(*both, ended("main", 0))).actions
    assert isinstance(kill, Kill)
    assert kill.name == "s2"
    assert status(obj, healthy(*both, ended("main", 0)))["phase"] == "Running"
    done = healthy(ended("s1", 0), ended("s2", 0), ended("main", 0))
    assert decide(obj, done).actions == (Finished(),)
    assert status(obj, done)["phase"] == "Succeeded"


def test_restart_policies() -> None:
    for policy, code, restarted, phase in [
        ("Always", 0, True, "Running"),
        ("Always", 1, True, "Running"),
        ("OnFailure", 1, True, "Running"),
        ("OnFailure", 0, False, "Succeeded"),
        ("Never", 0, False, "Succeeded"),
        ("Never", 1, False, "Failed"),
    ]:
        obj, observed = pod(restartPolicy=policy), healthy(ended(code=code))
        started = any(isinstance(action, Start) for action in decide(obj, observed).actions)
        assert (started, status(obj, observed)["phase"]) == (restarted, phase), policy


def test_the_first_restart_is_immediate_and_the_next_wait_ten_seconds_doubling() -> None:
    limits, entry, now_s, waits = Limits(), None, NOW_S, []
    for attempt in range(8):
        observed = replace(
            healthy(ended(attempt=attempt, at_s=now_s)),
            backoffs={} if entry is None else {"main": entry},
        )
        decision = pod_worker.decide(pod(), observed, now_s, limits)
        waits.append(0.0 if decision.actions else (decision.wake_at_s or 0) - now_s)
        now_s += waits[-1]
        (start,) = pod_worker.decide(pod(), observed, now_s, limits).actions
        assert isinstance(start, Start)
        entry = start.backoff
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_back_off_is_forgotten_after_ten_good_minutes() -> None:
    entry, limits = Backoff(300, NOW_S), Limits()
    assert backoff.restart_at_s(entry, NOW_S + 600, limits) == NOW_S + 900
    assert backoff.restart_at_s(entry, NOW_S + 601, limits) == NOW_S + 601
    fresh = backoff.after_restart(entry, NOW_S + 601, NOW_S + 601, limits)
    assert fresh == Backoff(10, NOW_S + 601)


def test_a_crash_loop_shows_what_happened_before() -> None:
    observed = replace(healthy(ended(code=3, attempt=2)), backoffs={"main": Backoff(20, NOW_S - 1)})
    (container,) = status(pod(), observed)["containerStatuses"]
    assert container["state"]["waiting"] == {
        "reason": "CrashLoopBackOff",
        "message": "back-off 20s restarting failed container=main pod=p_ns(u)",
    }
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert (container["restartCount"], container["ready"]) == (2, False)


def test_a_container_that_cannot_be_created_waits_and_says_why() -> None:
    failure = StartFailure("CreateContainerConfigError", 'secret "s" not found', NOW_S + 5)
    observed = Observed(failures={"main": failure})
    decision = decide(pod(), observed)
    assert (decision.actions, decision.wake_at_s) == ((), NOW_S + 5)
    (container,) = status(pod(), observed)["containerStatuses"]
    assert container["state"]["waiting"]["message"] == 'secret "s" not found'
    assert decide(pod(), observed, NOW_S + 5).actions == (Start("main", 0),)


def test_failed_probes_end_the_container_with_the_grace_of_the_probe() -> None:
    obj = pod(terminationGracePeriodSeconds=7)
    for health, word in [(Health(live=False), "liveness"), (Health(False, False), "startup")]:
        observed = Observed((running(),), {"main-0": health})
        (kill,) = decide(obj, observed).actions
        assert isinstance(kill, Kill)
        assert (kill.grace_s, word in kill.message) == (7, True)
    obj["spec"]["containers"][0]["livenessProbe"] = {"terminationGracePeriodSeconds": 1}
    (kill,) = decide(obj, Observed((running(),), {"main-0": Health(live=False)})).actions
    assert isinstance(kill, Kill)
    assert kill.grace_s == 1


def test_readiness_needs_every_container_and_every_gate() -> None:
    obj = pod("a", "b", readinessGates=[{"conditionType": "x/y"}])
    a, b = running("a"), running("b")
    half = Observed((a, b), {"a-0": Health(), "b-0": Health(ready=False)}, pod_ip="1")
    assert condition(status(obj, half), "Ready") == ("False", "ContainersNotReady")
    assert condition(status(obj, healthy(a, b)), "ContainersReady") == ("True", "")
    assert condition(status(obj, healthy(a, b)), "Ready") == ("False", "ReadinessGatesNotReady")
    obj["status"] = {"conditions": [{"type": "x/y", "status": "True"}]}
    assert condition(status(obj, healthy(a, b)), "Ready") == ("True", "")


def test_transition_times_move_only_when_the_status_does() -> None:
    obj = pod()
    first = status(obj, healthy(running()))
    obj["status"] = first
    later = status(obj, healthy(running()), NOW_S + 60)
    assert later == first
    ready = next(
        c for c in status(obj, healthy(ended()), NOW_S + 60)["conditions"] if c["type"] == "Ready"
    )
    assert ready["lastTransitionTime"] == "2026-01-01T00:01:00Z"


def test_a_deleted_pod_is_ended_within_its_grace_and_then_finished() -> None:
    obj = pod(terminationGracePeriodSeconds=30)
    obj["metadata"] |= {"deletionTimestamp": "x", "deletionGracePeriodSeconds": 4}
    (kill,) = decide(obj, healthy(running())).actions
    assert isinstance(kill, Kill)
    assert kill.grace_s == 4
    assert decide(obj, healthy(ended(code=143))).actions == (Finished(),)
    assert status(obj, healthy(ended(code=143)))["phase"] == "Failed"
    assert status(obj, healthy(ended(code=0)))["phase"] == "Succeeded"


def test_a_pod_past_its_deadline_fails_and_is_ended() -> None:
    obj = pod(activeDeadlineSeconds=60)
    obj["status"] = {"startTime": "2026-01-01T00:00:00Z"}
    assert decide(obj, healthy(running())).wake_at_s == NOW_S + 60
    late = NOW_S + 60
    assert isinstance(decide(obj, healthy(running()), late).actions[0], Kill)
    assert status(obj, healthy(running()), late)["phase"] == "Running"
    found = status(obj, healthy(ended(code=137)), late)
    assert (found["phase"], found["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_phase_that_is_final_stays() -> None:
    obj = pod()
    obj["status"] = {"phase": "Failed", "reason": "Evicted"}
    assert decide(obj, healthy(ended())).actions == (Finished(),)
    found = status(obj, healthy(ended()))
    assert (found["phase"], found["reason"]) == ("Failed", "Evicted")


def test_probe_thresholds_count_results_in_a_row() -> None:
    settings = probes.Settings(success_threshold=2, failure_threshold=3)
    verdict, seen = probes.first("readiness"), []
    for result in (True, True, False, False, True, False, False, False):
        verdict = probes.after(verdict, result, settings)
        seen.append(verdict.passed)
    assert seen == [False, True, True, True, True, True, True, False]
    assert probes.first("liveness").passed


def with_rules(*rules: Any, **more: Any) -> dict[str, Any]:
    obj = pod(restartPolicy=more.pop("pod_policy", "Never"))
    obj["spec"]["containers"][0] |= {"restartPolicyRules": list(rules)} | more
    return obj


def rule(operator: str, *values: int) -> dict[str, Any]:
    return {"action": "Restart", "exitCodes": {"operator": operator, "values": list(values)}}


def test_a_containers_own_rules_and_policy_come_before_the_pods() -> None:
    for obj, code, phase in [
        (with_rules(rule("In", 42)), 42, "Running"),
        (with_rules(rule("In", 42)), 1, "Failed"),
        (with_rules(rule("NotIn", 0, 1)), 2, "Running"),
        (with_rules(rule("NotIn", 0, 1)), 0, "Succeeded"),
        (with_rules(restartPolicy="OnFailure"), 1, "Running"),
        (with_rules(restartPolicy="Never", pod_policy="Always"), 1, "Failed"),
        (with_rules(restartPolicy="Always"), 0, "Running"),
    ]:
        observed = healthy(ended(code=code))
        starts = [a for a in decide(obj, observed).actions if isinstance(a, Start)]
        assert (bool(starts), status(obj, observed)["phase"]) == (phase == "Running", phase), obj


def test_an_init_container_with_rules_is_tried_again_in_a_pod_that_never_restarts() -> None:
    step = {"name": "i1", "restartPolicy": "Never", "restartPolicyRules": [rule("In", 7)]}
    obj = pod("main", init=[step], restartPolicy="Never")
    assert decide(obj, healthy(ended("i1", 7))).actions[0].name == "i1"
    assert status(obj, healthy(ended("i1", 8)))["phase"] == "Failed"
