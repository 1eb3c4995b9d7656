from __future__ import annotations

from cluster.controllers.autoscaling_metrics import Sample
from cluster.machinery import meta

AUTOSCALERS = "horizontalpodautoscalers.autoscaling"


class Load:
    """Metrics as a test sets them: the CPU of each pod in thousandths; None: no metrics."""

    def __init__(self, plane, milli):
        self.plane, self.milli = plane, milli

    async def resource(self, namespace, selector, resource, container):
        pods = await self.plane.items("pods", namespace, selector)
        now_s = self.plane.seams.clock.wall() + 3600
        return {p["metadata"]["name"]: Sample(self.milli, now_s) for p in pods}


def make_autoscaler():
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 5,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
    }


def make_loaded(make):
    deployment = make.deployment(replicas=2)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"requests": {"cpu": "100m"}}
    return deployment


async def start_pods(plane):
    """Upstream looks at startTime, which kubelets write."""
    await plane.run_pods()
    given = plane.kubelet._status

    def status(pod):
        found = given(pod)
        found["status"]["startTime"] = "2026-01-01T00:00:00Z"
        return found

    plane.kubelet._status = status


def replicas(plane, count):
    async def check():
        found = await plane.client.get("deployments.apps", "web", "default")
        return found["spec"]["replicas"] == count

    return check


def test_replicas_follow_the_load_up_to_the_limit_and_down_again(control_plane, make):
    async def test(plane):
        load = Load(plane, 90)
        await plane.manager(metrics=load, autoscaling_s=0.2)
        await start_pods(plane)
        await plane.client.create("deployments.apps", make_loaded(make))
        await plane.client.create(AUTOSCALERS, make_autoscaler())
        await plane.until(replicas(plane, 5))

        async def limited():
            found = await plane.client.get(AUTOSCALERS, "web", "default")
            condition = meta.condition(found, "ScalingLimited") or {}
            return found if condition.get("reason") == "TooManyReplicas" else None

        found = await plane.until(limited)
        assert meta.condition(found, "ScalingActive")["reason"] == "ValidMetricFound"
        load.milli = 10
        await plane.until(replicas(plane, 1))

    control_plane(test)


def test_without_metrics_nothing_is_scaled_and_the_status_says_why(control_plane, make):
    async def test(plane):
        await plane.manager(autoscaling_s=0.2)
        await start_pods(plane)
        await plane.client.create("deployments.apps", make_loaded(make))
        await plane.client.create(AUTOSCALERS, make_autoscaler())

        async def inactive():
            found = await plane.client.get(AUTOSCALERS, "web", "default")
            return meta.condition(found, "ScalingActive")

        condition = await plane.until(inactive)
        assert (condition["status"], condition["reason"]) == ("False", "FailedGetResourceMetric")
        assert await replicas(plane, 2)()

    control_plane(test)


def test_the_usage_of_a_quota_follows_what_is_there(control_plane, make):
    async def test(plane):
        await plane.manager()
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "q", "namespace": "default"},
            "spec": {"hard": {"pods": "5", "count/configmaps": "9"}},
        }
        await plane.client.create("pods", make.pod("before"))
        await plane.client.create("resourcequotas", quota)

        def used(count):
            async def check():
                found = await plane.client.get("resourcequotas", "q", "default")
                return ((found.get("status") or {}).get("used") or {}).get("pods") == count

            return check

        await plane.until(used("1"))
        await plane.client.delete("pods", "before", "default", grace_period_s=0)
        await plane.until(used("0"))

    control_plane(test)
