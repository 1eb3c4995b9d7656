"""Whose pods have to go, and from which node: against plain loops, and in plain cases."""

from __future__ import annotations

import copy

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scheduling_objects import HOST, columns_of, cycle_of, node, pod, term
from scheduling_oracle import reasons
from scheduling_worlds import worlds

from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.nominations import Nominations
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.profiles import default_profile
from cluster.scheduler.preemption.budgets import Budgets
from cluster.scheduler.preemption.candidates import DryRun

PROFILE = default_profile()


def ranked(name, priority, cpu="2", started=0, labels=None, **spec):
    made = pod(name, {"cpu": cpu}, labels=labels, priority=priority, **spec)
    made["status"]["startTime"] = f"2026-01-01T00:00:{started:02d}Z"
    return made


def budget(allowed, app="a", disrupted=()):
    return {
        "metadata": {"name": f"b-{app}", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed, "disruptedPods": dict.fromkeys(disrupted, "t")},
    }


def nomination(nodes, item, placed, budgets=(), nominated=()):
    columns = columns_of(nodes, placed, poddisruptionbudgets__policy=budgets)
    nominations = Nominations()
    for where, other in nominated:
        nominations.put(where, PodInfo.of(other))
    found = Cycle(columns, PROFILE, nominations).decide(PodInfo.of(item)).nomination
    return found.node, sorted(victim.name for victim in found.victims)


def test_only_as_many_pods_go_as_must_and_the_least_important_ones():
    placed = [("a", ranked("low", 1)), ("a", ranked("mid", 5))]
    assert nomination([node("a")], ranked("p", 9), placed) == ("a", ["low"])


def test_of_equal_pods_the_one_that_started_last_goes():
    placed = [("a", ranked("old", 1, started=1)), ("a", ranked("new", 1, started=2))]
    assert nomination([node("a")], ranked("p", 9), placed) == ("a", ["new"])


def test_pods_of_the_same_priority_are_left_alone():
    placed = [("a", ranked("x", 9)), ("a", ranked("y", 9))]
    found = cycle_of([node("a")], placed).decide(PodInfo.of(ranked("p", 9)))
    assert found.message == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
        "1 No preemption victims found for incoming pod."
    )


def test_a_pod_that_must_not_preempt_says_so():
    placed = [("a", ranked("x", 1, cpu="4"))]
    item = ranked("p", 9, preemptionPolicy="Never")
    found = cycle_of([node("a")], placed).decide(PodInfo.of(item))
    assert found.message.endswith("preemption: not eligible due to preemptionPolicy=Never.")


def test_the_node_with_the_fewest_violated_budgets_is_chosen():
    placed = [("a", ranked("x", 1, "4", labels={"app": "a"})), ("b", ranked("y", 5, "4"))]
    nodes = [node("a"), node("b")]
    assert nomination(nodes, ranked("p", 9), placed, [budget(0)]) == ("b", ["y"])
    assert nomination(nodes, ranked("p", 9), placed, [budget(1)]) == ("a", ["x"])
    known = budget(0, disrupted=["x"])
    assert nomination(nodes, ranked("p", 9), placed, [known]) == ("a", ["x"])


def test_a_pod_under_a_budget_is_spared_where_another_can_go():
    placed = [("a", ranked("kept", 1, labels={"app": "a"})), ("a", ranked("goes", 5))]
    assert nomination([node("a")], ranked("p", 9), placed, [budget(0)]) == ("a", ["goes"])


def test_then_the_lowest_highest_victim_the_sum_the_number_and_the_latest_start_decide():
    nodes, item = [node("a"), node("b")], ranked("p", 9, "4")
    for a, b in (
        ([("x", 6, "4", 0)], [("y", 5, "4", 0)]),
        ([("x", 5, "2", 0), ("z", 4, "2", 0)], [("y", 5, "2", 0), ("w", 3, "2", 0)]),
        ([("x", 5, "2", 0), ("z", 0, "2", 0)], [("y", 5, "4", 0)]),
        ([("x", 5, "4", 1)], [("y", 5, "4", 2)]),
    ):
        placed = [("a", ranked(*p)) for p in a] + [("b", ranked(*p)) for p in b]
        assert nomination(nodes, item, placed)[0] == "b"


def test_room_that_was_made_for_another_pod_is_not_counted_on():
    other = ranked("first", 9, "4")
    placed = [("a", ranked("x", 1, "4")), ("b", ranked("y", 5, "4"))]
    nodes = [node("a"), node("b")]
    assert nomination(nodes, ranked("p", 8, "4"), placed, nominated=[("a", other)])[0] == "b"
    assert nomination(nodes, ranked("p", 10, "4"), placed, nominated=[("a", other)])[0] == "a"


def test_pods_that_object_to_the_pod_are_victims_too():
    shy = ranked("shy", 1, "1")
    away = [term("x", HOST)]
    shy["spec"]["affinity"] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": away}
    }
    placed = [("a", shy), ("a", ranked("other", 1, "1"))]
    item = ranked("p", 9, "1", labels={"app": "x"})
    assert nomination([node("a")], item, placed) == ("a", ["shy"])


def test_a_dry_run_leaves_the_columns_as_they_were():
    shy = ranked("shy", 1, "1")
    shy["spec"]["affinity"] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("x", HOST)]}
    }
    cycle = cycle_of([node("a"), node("b")], [("a", shy), ("b", ranked("o", 1, "4"))])
    before = [sorted(p.uid for p in cycle.columns.pods_on(n)) for n in "ab"]
    cycle.decide(PodInfo.of(ranked("p", 9, "1", labels={"app": "x"})))
    assert [sorted(p.uid for p in cycle.columns.pods_on(n)) for n in "ab"] == before


# Against plain loops


def plain_victims(world, node_, budgets):
    """As upstream's SelectVictimsOnNode, in loops: names of victims, or None."""
    name, priority = node_["metadata"]["name"], world.pod["spec"]["priority"]
    lower = [p for p in world.on(node_) if p["spec"]["priority"] < priority]
    lower.sort(key=lambda p: (-p["spec"]["priority"], p["status"]["startTime"]))
    if not lower:
        return None
    trial = copy.copy(world)
    trial.placed = [(w, p) for w, p in world.placed if w != name or p not in lower]
    if reasons(trial, node_) is not None:
        return None
    allowed, violating = [b["status"]["disruptionsAllowed"] for b in budgets], []
    for p in lower:
        hits = [i for i, b in enumerate(budgets) if covered(b, p)]
        for i in hits:
            allowed[i] -= 1
        if any(allowed[i] < 0 for i in hits):
            violating.append(p)
    victims = []
    for p in [*violating, *(p for p in lower if p not in violating)]:
        trial.placed = [*trial.placed, (name, p)]
        if reasons(trial, node_) is not None:
            trial.placed = trial.placed[:-1]
            victims.append(p)
    return sorted(p["metadata"]["name"] for p in victims), sum(p in violating for p in victims)


def covered(budget_, p):
    chosen = budget_["spec"]["selector"]["matchLabels"]
    labels = p["metadata"]["labels"]
    return p["metadata"]["namespace"] == "ns" and chosen.items() <= labels.items()


@settings(
    max_examples=80,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(worlds(), st.data())
def test_victims_are_those_that_plain_loops_find(world, data):
    for number, (_, other) in enumerate([("", world.pod), *world.placed]):
        other["spec"]["priority"] = data.draw(st.integers(0, 3)) if number else 2
        other["status"]["startTime"] = f"2026-01-01T00:00:{number:02d}Z"
    budgets = [budget(data.draw(st.integers(0, 1)), app) for app in "ab"]
    columns = columns_of(world.nodes, world.placed, world.namespaces)
    cycle, item = Cycle(columns, PROFILE), PodInfo.of(world.pod)
    diagnosis = cycle.diagnose(item)
    rows = np.flatnonzero(diagnosis.resolvable)
    names = [columns.names[row] for row in rows]
    found = {
        c.node: (sorted(p.name for p in c.victims), c.violations)
        for c in DryRun(cycle, item, Budgets(budgets)).run(names)
    }
    by_name = {n["metadata"]["name"]: n for n in world.nodes}
    expected = {name: plain_victims(world, by_name[name], budgets) for name in names}
    assert found == {name: value for name, value in expected.items() if value is not None}
