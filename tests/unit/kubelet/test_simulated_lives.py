"""Lives of simulated pods in time that is only counted: no clock, no API."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cluster.kubelet.simulated import adoption, printed
from cluster.kubelet.simulated.account import Account
from cluster.kubelet.simulated.heartbeats import Periods
from cluster.kubelet.simulated.life import Life, advance
from cluster.kubelet.simulated.nodes import Model, new_nodes, status
from cluster.kubelet.simulated.parsing import BehaviourError, of_node, of_pod, parse, rules
from cluster.kubelet.simulated.understood import understood
from cluster.machinery import meta

Object = dict[str, Any]

NOON_S = 1_800_000_000.0


def pod_of(name: str = "p", *, owner: str = "", **spec: Any) -> Object:
    metadata: Object = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    if owner:
        reference = {"kind": owner, "name": "o", "uid": "o", "apiVersion": "v1"}
        metadata["ownerReferences"] = [reference | {"controller": True}]
    given = {"nodeName": "sim-0", "containers": [{"name": "c", "image": "i"}], **spec}
    return {"metadata": metadata, "spec": given, "status": {"phase": "Pending"}}


class Lived:
    """A pod whose time goes forward from one thing to the next, as its timers ask."""

    def __init__(self, pod: Object, text: Object | None = None) -> None:
        self.pod = pod
        self.behaviour = parse(text or {})
        self.life = Life(NOON_S, "10.0.0.2")
        self.now_s = NOON_S
        self.step = None
        self.seen: list[tuple[float, str]] = []
        self.go()

    def go(self) -> Lived:
        self.step = advance(self.life, self.pod, self.behaviour, self.now_s, "127.0.0.1")
        self.life = self.step.life
        if not self.seen or self.seen[-1][1] != self.summary:
            self.seen.append((self.now_s - NOON_S, self.summary))
        return self

    def until(self, at_s: float) -> Lived:
        """Every timer that is due by then, in order."""
        while (wake := self.step.wake_at_s) is not None and wake <= NOON_S + at_s:
            assert wake > self.now_s, "a timer that changes nothing"
            self.now_s = wake
            self.go()
        self.now_s = NOON_S + at_s
        return self.go()

    def delete(self, grace_s: int = 30) -> Lived:
        stamp = meta.format_time(self.now_s)
        self.pod["metadata"] |= {
            "deletionTimestamp": stamp,
            "deletionGracePeriodSeconds": grace_s,
        }
        return self.go()

    @property
    def status(self) -> Object:
        return self.life.status

    @property
    def summary(self) -> str:
        ready = "/ready" if meta.condition_is({"status": self.status}, "Ready") else ""
        return self.status["phase"] + ready


def test_without_a_word_a_pod_is_running_and_ready_at_once_and_stays_so() -> None:
    lived = Lived(pod_of())
    assert lived.seen == [(0, "Running/ready")]
    assert lived.step.wake_at_s is None
    assert lived.status["podIP"] == "10.0.0.2"
    assert lived.status["containerStatuses"][0]["containerID"].startswith("simulated://")


def test_a_pod_starts_and_becomes_ready_when_its_behaviour_says() -> None:
    lived = Lived(pod_of(), {"start": "2s", "ready": "3s"}).until(60)
    assert lived.seen == [(0, "Pending"), (2, "Running"), (5, "Running/ready")]


def test_times_are_drawn_from_their_range_and_the_same_for_the_same_seed() -> None:
    def starts(seed: str) -> list[float]:
        texts = {"start": "1s-3s", "seed": seed}
        return [Lived(pod_of(f"p{n}"), texts).until(9).seen[1][0] for n in range(20)]

    first = starts("a")
    assert all(1 <= at_s <= 3 for at_s in first)
    assert len(set(first)) > 10
    assert starts("a") == first
    assert starts("b") != first


def test_a_pod_of_a_job_ends_well_and_its_resources_with_it() -> None:
    pod = pod_of(owner="Job", restartPolicy="Never")
    lived = Lived(pod, None)
    lived.behaviour = of_pod(pod, {}, ())
    lived.go().until(10)
    assert lived.seen[-1] == (1, "Succeeded")
    assert lived.step.finished


def test_a_container_that_crashes_is_restarted_with_back_off() -> None:
    lived = Lived(pod_of(), {"exit": {"after": "1s", "code": 3}}).until(40)
    container = lived.status["containerStatuses"][0]
    assert container["restartCount"] == 3  # at 1, 12 and 33 s
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"


def test_a_crash_of_the_first_attempts_heals() -> None:
    lived = Lived(pod_of(), {"exit": {"after": "1s", "code": 3, "attempts": 2}}).until(100)
    assert lived.status["containerStatuses"][0]["restartCount"] == 2
    assert lived.summary == "Running/ready"


def test_a_container_that_cannot_be_created_says_why_and_is_tried_again() -> None:
    error = {"failStart": {"reason": "ErrImagePull", "message": "no such image", "attempts": 2}}
    lived = Lived(pod_of(), error)
    waiting = lived.status["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {"reason": "ErrImagePull", "message": "no such image"}
    assert lived.until(60).seen == [(0, "Pending"), (20, "Running/ready")]


def test_a_share_of_the_pods_fails() -> None:
    pods = [Lived(pod_of(f"p{n}"), {"failStart": {"share": 0.3}}) for n in range(300)]
    assert 60 < sum(lived.summary == "Pending" for lived in pods) < 120


def test_a_deleted_pod_takes_its_time_to_stop_and_is_killed_when_its_grace_ends() -> None:
    quick = Lived(pod_of(), {"stop": "4s"}).until(1).delete()
    assert not quick.step.finished
    assert quick.until(5).step.finished
    assert quick.status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 143
    slow = Lived(pod_of(), {"stop": "60s"}).until(1).delete(grace_s=2).until(3)
    assert slow.step.finished
    assert slow.status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
    assert slow.status["phase"] == "Failed"


def test_init_containers_run_in_order_and_sidecars_stay() -> None:
    sidecar = {"name": "s", "image": "i", "restartPolicy": "Always"}
    first = {"name": "first", "image": "i"}
    lived = Lived(pod_of(initContainers=[first, sidecar]), {"exit": {"after": "5s", "share": 0}})
    init = {entry["name"]: entry for entry in lived.status["initContainerStatuses"]}
    assert init["first"]["state"]["terminated"]["reason"] == "Completed"
    assert "running" in init["s"]["state"]
    assert lived.summary == "Running/ready"


def test_an_evicted_pod_fails_and_does_not_come_back() -> None:
    lived = Lived(pod_of(), {"evict": {"after": "7s", "message": "low"}}).until(60)
    assert (lived.status["phase"], lived.status["reason"]) == ("Failed", "Evicted")
    assert lived.step.finished


def test_a_deadline_ends_a_pod() -> None:
    lived = Lived(pod_of(activeDeadlineSeconds=5)).until(9)
    assert (lived.seen[-1], lived.status["reason"]) == ((5, "Failed"), "DeadlineExceeded")


@pytest.mark.parametrize("at_s", [0, 3, 9, 14, 40])
def test_a_pod_that_another_process_goes_on_with_looks_the_same(at_s: float) -> None:
    lived = Lived(pod_of(), {"start": "2s", "ready": "5s", "exit": {"after": "8s", "code": 1}})
    lived.until(at_s)
    lived.pod["status"] |= lived.status
    other = adoption.adopted(lived.pod, lived.now_s)
    step = advance(other, lived.pod, lived.behaviour, lived.now_s, "127.0.0.1")
    assert adoption.is_told(lived.pod, step.life.status)


def test_a_nearer_word_wins_key_by_key() -> None:
    text = """
    - {match: {namespace: other}, start: 9s}
    - {match: {labels: {app: web}, node: sim-*}, start: 1s, ready: 1s, stop: 1s}
    - {start: 8s}
    """
    pod = pod_of()
    pod["metadata"] |= {
        "labels": {"app": "web"},
        "annotations": {"raykube.dev/simulate": "{stop: 3s}"},
    }
    found = of_pod(pod, {"ready": "2s"}, rules(text))
    assert (found.start.low_s, found.ready.low_s, found.stop.low_s) == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {redy: 1s}", "rule 1: unknown key 'redy'"),
        ("- {ready: 1s}\n- {match: {names: x}}", "rule 2: unknown key 'names'"),
        ("- {ready: 3s-1s}", "ends before it begins"),
        ("- {ready: soon}", "'soon' is no time"),
        ("- {exit: {code: -1}}", "exit.code: a whole number"),
        ("- {exit: {share: 2}}", "exit.share: a number from 0 to 1"),
        ("- [1]", "rule 1: a mapping"),
        ("{", "no YAML"),
    ],
)
def test_what_says_nothing_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(BehaviourError, match=said):
        rules(text)


def test_lines_are_printed_in_time() -> None:
    lived = Lived(pod_of(), {"logs": {"lines": ["a {n}", "b"], "every": "1s"}})
    container = lived.life.containers[0]
    logs = lived.behaviour.logs
    assert printed.count(logs, container, NOON_S + 2.5) == 3
    texts = [printed.entry(logs, container, n).split(b" ", 3)[3] for n in range(3)]
    assert texts == [b"a 0", b"b", b"a 2"]


def node_of(**annotation: Any) -> Object:
    node = next(new_nodes(1, "sim", Model(pods=3, cpu="2"), ["fleet-0"], []))
    node["metadata"]["creationTimestamp"] = meta.format_time(NOON_S)
    return node


def test_a_node_takes_what_fits_and_gives_addresses_again() -> None:
    account = Account(node_of())
    asking = {"name": "c", "resources": {"requests": {"cpu": "1500m"}}}
    large, other = pod_of("large", containers=[asking]), pod_of("other", containers=[asking])
    assert account.admit(large) is None
    assert account.address("uid-large") == "10.0.0.2"
    assert account.admit(other)[0] == "OutOfcpu"
    for name in ("a", "b"):
        assert account.admit(pod_of(name)) is None
    assert account.admit(pod_of("c"))[0] == "OutOfpods"
    account.release("uid-large")
    assert account.admit(other) is None
    assert account.address("uid-other") == "10.0.0.2"
    assert account.address("uid-a") == "10.0.0.3"


def test_new_nodes_have_names_and_ranges_of_their_own_and_zones_in_turn() -> None:
    model = Model(zones=("a", "b"))
    first = list(new_nodes(3, "sim", model, ["f0", "f1"], []))
    more = list(new_nodes(300, "sim", model, ["f0", "f1"], first))
    every = [*first, *more]
    assert len({node["metadata"]["name"] for node in every}) == 303
    assert len({node["spec"]["podCIDR"] for node in every}) == 303
    zones = [node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in first]
    assert zones == ["a", "b", "a"]
    large = list(new_nodes(2, "large", Model(pods=1000), ["f0"], every))
    assert [node["spec"]["podCIDR"].split("/")[1] for node in large] == ["22", "22"]


def test_a_node_says_what_its_annotation_says() -> None:
    node = node_of()
    annotation = "{power: on, boot: 5s, conditions: {MemoryPressure: True}, ready: 2s}"
    node["metadata"]["annotations"] = {"raykube.dev/simulate": annotation}
    own, pods = of_node(node)
    assert (own.powered, own.boot.low_s, pods) == (True, 5, {"ready": "2s"})
    reported = status(node, own, "", "127.0.0.1", 10250, NOON_S)
    said = {c["type"]: c["status"] for c in reported["conditions"]}
    assert (said["MemoryPressure"], said["Ready"]) == ("True", "True")
    node["metadata"]["annotations"] = {"raykube.dev/simulate": "{powr: off}"}
    assert "unknown key 'powr'" in understood(node).problem


def test_leases_are_renewed_as_by_kubelets_and_less_often_where_there_are_thousands() -> None:
    periods = Periods(lease_s=40)
    assert [periods.renew_s(nodes) for nodes in (1, 2000, 3000, 9000)] == [10, 10, 15, 20]


@pytest.mark.parametrize(
    "change",
    [
        lambda pod: pod["metadata"].update(generation=2),
        lambda pod: pod["metadata"].update(annotations={"raykube.dev/simulate": "{}"}),
        lambda pod: pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
        lambda pod: pod["status"]["conditions"].append({"type": "example.com/x", "status": "True"}),
    ],
)
def test_what_others_write_just_before_our_own_status_is_not_passed_over(change: Any) -> None:
    seen = pod_of()
    seen["metadata"] |= {"generation": 1, "resourceVersion": "7"}
    seen["status"] = {"conditions": [{"type": "Ready", "status": "False"}]}
    told = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    written = copy.deepcopy(seen)
    written["metadata"]["resourceVersion"] = "8"
    written["status"] = copy.deepcopy(told)
    assert adoption.is_all_seen(seen, written, told)
    change(written)
    assert not adoption.is_all_seen(seen, written, told)
