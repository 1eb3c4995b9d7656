"""The columns against an oracle that looks at one node after the other.

RAYKUBE_CASES=10000 makes it a long run; a failure prints what reproduces it.
"""

from __future__ import annotations

import os
from collections import Counter
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scheduling_objects import columns_of
from scheduling_oracle import SCORES, reasons, scores
from scheduling_worlds import pods, worlds

from cluster.scheduler.columns import View
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.plugin import Scope
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.profiles import default_profile

CASES = int(os.environ.get("RAYKUBE_CASES", "200"))
THOROUGH = settings(
    max_examples=CASES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
PROFILE = default_profile()


def cycle_of(world):
    columns = columns_of(world.nodes, world.placed, world.namespaces, services=world.services)
    return Cycle(columns, PROFILE)


@THOROUGH
@given(worlds(), st.sampled_from([0, 16]))
def test_the_same_nodes_are_feasible_and_score_the_same(world, few):
    """`few`: whether pods that name their nodes are looked at apart."""
    with mock.patch("cluster.scheduler.framework.cycle.FEW", few):
        compare(world)


def compare(world):
    cycle, item = cycle_of(world), PodInfo.of(world.pod)
    verdicts = {n["metadata"]["name"]: reasons(world, n) for n in world.nodes}
    feasible, _, refused = cycle.feasible(item)
    found = {cycle.columns.names[row] for row in np.flatnonzero(feasible)}
    assert refused is None
    assert found == {name for name, verdict in verdicts.items() if verdict is None}
    if found:
        expected = scores(world, [n for n in world.nodes if n["metadata"]["name"] in found])
        total = cycle.scores(item, feasible)
        assert {name: int(total[cycle.columns.rows[name]]) for name in found} == expected
    else:
        refusals(cycle, item, verdicts)


def refusals(cycle, item, verdicts):
    diagnosis = cycle.diagnose(item)
    assert diagnosis.reasons == Counter(r for found in verdicts.values() for r, _ in found)
    resolvable = {cycle.columns.names[row] for row in np.flatnonzero(diagnosis.resolvable)}
    assert resolvable == {n for n, found in verdicts.items() if all(help for _, help in found)}


@THOROUGH
@given(worlds())
def test_every_plugin_scores_as_upstream_does(world):
    cycle, item = cycle_of(world), PodInfo.of(world.pod)
    nodes = [n for n in world.nodes if reasons(world, n) is None]
    if not nodes:
        return
    feasible, _, _ = cycle.feasible(item)
    for plugin, _ in PROFILE.scores:
        expected = SCORES[plugin.name][0](world, nodes)
        found = dict.fromkeys(expected, 0)
        if plugin.scores(item, cycle.columns):
            seen = feasible if plugin.scope is Scope.CLUSTER else View(cycle.columns).all()
            raw = plugin.score(View(cycle.columns), item, seen)
            values = plugin.normalize(raw, feasible)
            found = {name: int(values[cycle.columns.rows[name]]) for name in expected}
        assert found == expected, plugin.name


@THOROUGH
@given(worlds(), st.data())
def test_columns_that_changed_step_by_step_decide_as_fresh_ones(world, data):
    """Nodes and pods come, go and come again; answers that were kept are renewed."""
    cycle, item = cycle_of(world), PodInfo.of(world.pod)
    columns = cycle.columns
    other = PodInfo.of(data.draw(pods("extra")))
    names = [n["metadata"]["name"] for n in world.nodes]
    for name in data.draw(st.lists(st.sampled_from(names), max_size=4)):
        cycle.decide(item)
        step = data.draw(st.sampled_from(["node", "pod", "what if", "pods"]))
        if step == "node":
            columns.remove_node(name)
            columns.put_node(next(n for n in world.nodes if n["metadata"]["name"] == name))
        elif step == "pod":
            columns.put_pod(name, other)
            cycle.decide(item)
            columns.remove_pod(other.uid)
        elif step == "what if":
            with columns.what_if([(name, other)], [p.uid for p in columns.pods_on(name)]):
                cycle.decide(item)
        else:
            for pod in columns.pods_on(name):
                columns.remove_pod(pod.uid)
                columns.put_pod(name, pod)
    fresh = cycle_of(world)
    assert outcome(cycle, item) == outcome(fresh, item)


def outcome(cycle, item):
    feasible, _, _ = cycle.feasible(item)
    names = cycle.columns.names
    if not feasible.any():
        return cycle.diagnose(item).reasons
    total = cycle.scores(item, feasible)
    return {names[row]: int(total[row]) for row in np.flatnonzero(feasible)}
