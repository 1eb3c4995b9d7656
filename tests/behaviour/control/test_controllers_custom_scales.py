"""Autoscaling and disruption budgets of a kind that only a CustomResourceDefinition knows."""

from __future__ import annotations

from cluster.controllers.autoscaling_metrics import Sample
from cluster.controllers.program import custom_resource
from cluster.machinery import meta

RINGS = custom_resource("example.com", "v1", "rings", "Ring")
BUDGETS = "poddisruptionbudgets.policy"
AUTOSCALERS = "horizontalpodautoscalers.autoscaling"
WAIT_S = 45


def definition(scaled=True):
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties = {
        "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        "status": {
            "type": "object",
            "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
        },
    }
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    version = {
        "name": "v1", "served": True, "storage": True,
        "subresources": {"status": {}, **({"scale": scale} if scaled else {})},
        "schema": {"openAPIV3Schema": {**anything, "properties": properties}},
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rings.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "rings", "kind": "Ring"}, "versions": [version],
        },
    }  # fmt: skip


async def start(plane, make, replicas, *, scaled=True, **manager):
    """A Ring with as many ready pods as it asks for; it is its own operator that never acts."""
    await plane.manager(node_grace_s=3600, **manager)
    await plane.run_pods()
    await plane.client.create("nodes", make.node("n1"))
    await plane.client.create("customresourcedefinitions.apiextensions.k8s.io", definition(scaled))
    await plane.kubectl(
        "wait", "--for=condition=Established", "crd/rings.example.com", f"--timeout={WAIT_S}s"
    )
    made = await plane.client.create(RINGS, {
        "apiVersion": "example.com/v1", "kind": "Ring",
        "metadata": {"name": "one", "namespace": "default"}, "spec": {"replicas": replicas},
    })  # fmt: skip
    made["status"] = {"replicas": replicas, "selector": "app=ring"}
    await plane.client.update(RINGS, made, subresource="status")
    for number in range(replicas):
        pod = make.pod(f"ring-{number}")
        pod["metadata"]["labels"] = {"app": "ring"}
        pod["metadata"]["ownerReferences"] = [meta.owner_reference(made)]
        await plane.client.create("pods", pod)

    async def ready():
        pods = await plane.items("pods")
        return len(pods) == replicas and all(meta.condition_is(p, "Ready") for p in pods)

    await plane.until(ready, WAIT_S)


async def budget_of(plane, **spec):
    selector = {"matchLabels": {"app": "ring"}}
    await plane.client.create(BUDGETS, {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "ring", "namespace": "default"},
        "spec": {"selector": selector, **spec},
    })  # fmt: skip


def with_condition(plane, reason):
    async def check():
        found = await plane.client.get(BUDGETS, "ring", "default")
        condition = meta.condition(found, "DisruptionAllowed") or {}
        return found if condition.get("reason") == reason else None

    return check


def test_a_budget_in_percent_counts_the_replicas_of_the_scale_of_a_custom_kind(control_plane, make):
    async def test(plane):
        await start(plane, make, 4)
        await budget_of(plane, minAvailable="75%")
        found = await plane.until(with_condition(plane, "SufficientPods"), WAIT_S)
        status = found["status"]
        assert (status["expectedPods"], status["desiredHealthy"]) == (4, 3)
        assert status["disruptionsAllowed"] == 1

    control_plane(test)


def test_a_budget_over_pods_of_a_kind_without_a_scale_allows_nothing_and_says_why(
    control_plane, make
):
    async def test(plane):
        await start(plane, make, 2, scaled=False)
        await budget_of(plane, maxUnavailable=1)
        found = await plane.until(with_condition(plane, "SyncFailed"), WAIT_S)
        assert found["status"]["disruptionsAllowed"] == 0

    control_plane(test)


class Busy:
    """Every pod uses 90 thousandths of a CPU."""

    def __init__(self):
        self.plane = None

    async def pods(self, namespace, selector, metric):
        now_s = self.plane.seams.clock.wall() + 3600
        found = await self.plane.items("pods", namespace, selector)
        return {pod["metadata"]["name"]: Sample(90, now_s) for pod in found}


def test_the_autoscaler_scales_a_custom_kind(control_plane, make):
    async def test(plane):
        busy = Busy()
        busy.plane = plane
        await start(plane, make, 2, metrics=busy, autoscaling_s=0.2)
        wanted = {"type": "AverageValue", "averageValue": "45m"}
        metric = {"type": "Pods", "pods": {"metric": {"name": "load"}, "target": wanted}}
        await plane.client.create(AUTOSCALERS, {
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "ring", "namespace": "default"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "example.com/v1", "kind": "Ring", "name": "one"},
                "minReplicas": 1, "maxReplicas": 4, "metrics": [metric],
            },
        })  # fmt: skip

        async def scaled():
            found = await plane.client.get(RINGS, "one", "default")
            return found["spec"]["replicas"] == 4

        await plane.until(scaled, WAIT_S)

    control_plane(test)
