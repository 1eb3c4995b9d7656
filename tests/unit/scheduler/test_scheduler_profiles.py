"""Profiles from configuration: which plugins there are, where, with which weights and arguments."""

from __future__ import annotations

import pytest
from scheduling_objects import best_nodes, columns_of, decide, node, pod

from cluster.scheduler.framework import FilterPlugin, Rejection
from cluster.scheduler.framework.batch import schedule
from cluster.scheduler.framework.cycle import Cycle
from cluster.scheduler.framework.gang import schedule_group
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.plugins.gang_scheduling import LEAST, NAME, GangScheduling
from cluster.scheduler.plugins.profiles import API_VERSION, KIND, default_profile, settings_of
from cluster.scheduler.plugins.registry import Registry


def settings(*profiles, **more):
    given = {"apiVersion": API_VERSION, "kind": KIND, "profiles": [*profiles], **more}
    return settings_of(given, Registry())


def one(**given):
    return settings(given).profiles[0]


def names(plugins):
    return [plugin.name for plugin in plugins]


def test_the_default_profile_is_upstreams():
    profile = default_profile()
    assert {p.name: weight for p, weight in profile.scores} == {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "NodeResourcesFit": 1,
        "PodTopologySpread": 2,
        "InterPodAffinity": 2,
        "NodeResourcesBalancedAllocation": 1,
        "ImageLocality": 1,
    }
    assert names(profile.filters) == [
        "NodeUnschedulable",
        "NodeName",
        "TaintToleration",
        "NodeAffinity",
        "NodePorts",
        "NodeResourcesFit",
        "VolumeRestrictions",
        "NodeVolumeLimits",
        "VolumeBinding",
        "VolumeZone",
        "PodTopologySpread",
        "InterPodAffinity",
        "DynamicResources",
    ]
    assert names(profile.post_filters) == ["DefaultPreemption"]
    assert names(profile.binds) == ["DefaultBinder"]


def test_plugins_are_disabled_and_weighed_per_extension_point():
    plugins = {
        "score": {
            "disabled": [{"name": "*"}],
            "enabled": [{"name": "NodeResourcesFit", "weight": 5}],
        },
        "filter": {"disabled": [{"name": "NodePorts"}]},
    }
    profile = one(plugins=plugins)
    assert [(p.name, w) for p, w in profile.scores] == [("NodeResourcesFit", 5)]
    assert "NodePorts" not in names(profile.filters)
    assert "TaintToleration" in names(profile.filters)


def test_a_plugin_disabled_everywhere_is_nowhere():
    profile = one(plugins={"multiPoint": {"disabled": [{"name": "TaintToleration"}]}})
    assert "TaintToleration" not in profile.plugins


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"plugins": {"multiPoint": {"enabled": [{"name": "X"}]}}}, '"X" does not exist'),
        ({"plugins": {"score": {"enabled": [{"name": "NodeName"}]}}}, "does not extend score"),
        ({"plugins": {"filters": {}}}, 'no extension point "filters"'),
        (
            {"plugins": {"bind": {"disabled": [{"name": "*"}]}}},
            "a bind plugin are needed",
        ),
        (
            {
                "pluginConfig": [
                    {"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "Best"}}}
                ]
            },
            'pluginConfig of NodeResourcesFit: scoringStrategy: "Best"',
        ),
    ],
)
def test_what_is_wrong_is_told(given, message):
    with pytest.raises(ValueError, match=message):
        settings(given)


def test_wrong_documents_names_and_times_are_told():
    with pytest.raises(ValueError, match="must be a KubeSchedulerConfiguration"):
        settings_of({"kind": "Pod"}, Registry())
    with pytest.raises(ValueError, match="duplicate schedulerName"):
        settings({"schedulerName": "a"}, {"schedulerName": "a"})
    with pytest.raises(ValueError, match="podMaxBackoffSeconds"):
        settings(podInitialBackoffSeconds=5, podMaxBackoffSeconds=2)
    with pytest.raises(ValueError, match="no URL in urlPrefix"):
        settings(extenders=[{"urlPrefix": "somewhere"}])


def fit(strategy):
    return [{"name": "NodeResourcesFit", "args": {"scoringStrategy": strategy}}]


def test_a_packing_profile_fills_one_node_before_the_next():
    nodes = [node("a"), node("b")]
    placed = [("a", pod("x", {"cpu": "1", "memory": "2Gi"}))]
    item = pod(requests={"cpu": "1", "memory": "2Gi"})
    packing = one(pluginConfig=fit({"type": "MostAllocated"}))
    assert best_nodes(nodes, item, placed, packing) == {"a"}
    assert best_nodes(nodes, item, placed) == {"b"}


def test_a_shape_of_utilization_decides_how_gpus_are_packed():
    """Nodes with GPUs: those in use already are filled, so that others stay whole."""
    shape = [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
    strategy = {
        "type": "RequestedToCapacityRatio",
        "resources": [{"name": "example.com/gpu", "weight": 5}],
        "requestedToCapacityRatio": {"shape": shape},
    }
    nodes = [node("a", gpu=4), node("b", gpu=4), node("c", gpu=0)]
    placed = [("b", pod("x", {"example.com/gpu": "2"}))]
    item = pod(requests={"example.com/gpu": "1"})
    assert best_nodes(nodes, item, placed, one(pluginConfig=fit(strategy))) == {"b"}


def test_a_falling_shape_prefers_what_is_less_used():
    shape = [{"utilization": 0, "score": 10}, {"utilization": 100, "score": 0}]
    strategy = {"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": shape}}
    placed = [("a", pod("x", {"cpu": "2", "memory": "4Gi"}))]
    nodes, profile = [node("a"), node("b")], one(pluginConfig=fit(strategy))
    assert best_nodes(nodes, pod(requests={"cpu": "1"}), placed, profile) == {"b"}


def test_affinity_that_the_profile_adds_holds_for_every_pod():
    wanted = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    required = {"nodeSelectorTerms": [wanted]}
    added = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    profile = one(pluginConfig=[{"name": "NodeAffinity", "args": {"addedAffinity": added}}])
    nodes = [node("a", labels={"disk": "ssd"}), node("b")]
    assert best_nodes(nodes, pod(), profile=profile) == {"a"}
    message = decide(nodes[1:], pod(), profile=profile).message
    assert "1 node(s) didn't match scheduler-enforced node affinity" in message


class OddNodes(FilterPlugin):
    name = "OddNodes"

    def __init__(self, given=None):
        self._why = (given or {}).get("why", "even")

    def filter(self, view, item):
        yield Rejection(~view.label_in("odd", ["yes"]), f"node(s) were {self._why}")


def test_users_add_plugins_of_their_own_in_python():
    registry = Registry()
    registry.add("OddNodes", lambda given: OddNodes(given))
    given = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "profiles": [
            {
                "plugins": {"multiPoint": {"enabled": [{"name": "OddNodes"}]}},
                "pluginConfig": [{"name": "OddNodes", "args": {"why": "not odd"}}],
            }
        ],
    }
    profile = settings_of(given, registry).profiles[0]
    nodes = [node("a", labels={"odd": "yes"}), node("b")]
    assert best_nodes(nodes, pod(), profile=profile) == {"a"}
    assert "1 node(s) were not odd." in decide(nodes[1:], pod(), profile=profile).message
    with pytest.raises(ValueError, match="registered already"):
        registry.add("OddNodes", lambda given: OddNodes())


def test_pods_see_what_those_before_them_took():
    cycle = Cycle(columns_of([node("a", cpu=1000), node("b", cpu=1000)]), default_profile())
    pods = [PodInfo.of(pod(f"p{i}", {"cpu": "600m"})) for i in range(3)]
    outcome = schedule(cycle, pods)
    assert sorted(outcome.bindings.values()) == ["a", "b"]
    assert "2 Insufficient cpu" in outcome.failed["uid-p2"].message


# Groups


def member(number, least, cpu="1"):
    labels = {NAME: "g", LEAST: str(least)}
    return PodInfo.of(pod(f"m{number}", {"cpu": cpu}, labels=labels))


def group(nodes, members, placed=0):
    cycle, plugin = Cycle(columns_of(nodes), default_profile()), GangScheduling()
    found = plugin.group(members[0])
    decisions = schedule_group(cycle, members, placed, found, plugin.name)
    assert not [*cycle.columns.placed()]
    return [decisions[m.uid] for m in members]


def test_a_group_is_placed_as_a_whole_or_not_at_all():
    members = [member(i, 3) for i in range(3)]
    assert all(d.node for d in group([node("a", cpu=3000)], members))
    refused = group([node("a", cpu=2000)], members)
    assert not any(d.node for d in refused)
    assert 'pod group "ns/g": 2 of the 3 pods needed fit' in refused[0].message


def test_a_group_waits_for_enough_of_its_pods():
    refused = group([node("a")], [member(0, 3), member(1, 3)])
    assert not any(d.node for d in refused)
    assert 'pod group "ns/g": 2 of the 3 pods needed are there' in refused[0].message
    assert all(d.node for d in group([node("a")], [member(0, 3), member(1, 3)], placed=1))


def test_more_pods_than_the_group_needs_are_placed_as_far_as_they_fit():
    found = group([node("a", cpu=3000)], [member(i, 2) for i in range(4)])
    assert [bool(d.node) for d in found] == [True, True, True, False]
