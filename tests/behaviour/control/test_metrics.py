"""metrics.k8s.io over a real kubelet, and autoscaling by it and by an adapter's metrics."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from extension_servers import Extension, is_available

from cluster.kubelet.kubelet import Kubelet
from cluster.kubelet.runtimes.reap import reap
from cluster.machinery import meta
from cluster.metrics.registration import HOST
from cluster.metrics.server import MetricsServer

AUTOSCALERS = "horizontalpodautoscalers.autoscaling"
NODE_IP = "127.77.1.1"
BUSY = "while :; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.05; done"


@contextlib.asynccontextmanager
async def node(plane):
    """A kubelet with real processes, and the metrics server that asks it."""
    data_dir = str(plane.folder / "node")
    kubelet, metrics = Kubelet(), MetricsServer()
    client = {"servers": [plane.url], **plane.identity("system:node:n1", ["system:nodes"])}
    files = plane.identity("kubelet-n1", names=[NODE_IP])
    await kubelet.start(plane.seams, {
        "node_name": "n1", "node_ip": NODE_IP, "client": client, "data_dir": data_dir,
        "pod_cidr": "127.77.1.0/24", "port": 0, "tls": files,
        "capacity": {"cpu": "4", "memory": "8Gi"},
    })  # fmt: skip
    tls = plane.identity("system:metrics-server", names=[HOST, "127.0.0.1"])
    await metrics.start(plane.seams, {
        "name": "metrics", "address": "127.0.0.1:0", "client": {"servers": [plane.url], **tls},
        "tls": tls, "request_header": plane.request_header, "resolution_s": 1.0,
    })  # fmt: skip
    try:
        yield metrics
    finally:
        await metrics.stop()
        await kubelet.stop()
        await asyncio.to_thread(reap, data_dir)


async def available(plane):
    await plane.until(lambda: is_available(plane, "v1beta1.metrics.k8s.io"))


def deployment(make, command, replicas=1):
    found = make.deployment(replicas=replicas)
    container = found["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["sh", "-c", command]
    container["resources"] = {"requests": {"cpu": "50m"}}
    return found


def autoscaler(metric, most=3):
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": most,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            "metrics": [metric],
        },
    }


def replicas(plane, count):
    async def check():
        found = await plane.client.get("deployments.apps", "web", "default")
        return found["spec"]["replicas"] == count

    return check


HALF = {"type": "Utilization", "averageUtilization": 50}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": HALF}}


def test_kubectl_top_tells_what_busy_containers_use_and_the_autoscaler_follows(control_plane, make):
    async def test(plane):
        await plane.manager(autoscaling_s=0.5)
        await plane.scheduler()
        async with node(plane):
            await plane.client.create("deployments.apps", deployment(make, BUSY))
            await available(plane)

            async def told():
                answer = await plane.client.raw("GET", "/apis/metrics.k8s.io/v1beta1/pods")
                return json.loads(answer.body).get("items") if answer.status == 200 else None

            (pod,) = await plane.until(told)
            assert pod["containers"][0]["name"] == "c"
            lines = (await plane.kubectl("top", "pods", "--containers")).splitlines()
            assert lines[0].split() == ["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]
            words = lines[1].split()
            assert words[1] == "c"
            assert int(words[2].removesuffix("m")) > 25  # more than half of what it asks for
            lines = (await plane.kubectl("top", "nodes")).splitlines()
            assert lines[1].split()[0] == "n1"
            assert int(lines[1].split()[1].removesuffix("m")) > 0
            shown = await plane.kubectl("get", "podmetrics")
            assert shown.split()[:4] == ["NAME", "CPU", "MEMORY", "WINDOW"]
            assert "usage" in await plane.kubectl("explain", "podmetrics.containers")

            await plane.client.create(AUTOSCALERS, autoscaler(CPU))
            await plane.until(replicas(plane, 3), 30)
            idle = {"spec": {"template": {"spec": {"containers": [
                {"name": "c", "command": ["sleep", "1000"]}]}}}}  # fmt: skip
            await plane.client.patch("deployments.apps", "web", idle, "default", kind="strategic")
            await plane.until(replicas(plane, 1), 40)

    control_plane(test, 120)


def test_who_may_not_read_metrics_is_refused(control_plane, make):
    async def test(plane):
        async with node(plane) as metrics:
            await available(plane)
            assert (await metrics.health()).ready
            nobody = plane.identity("nobody")
            plane.client_config = {"servers": [plane.url], **nobody}
            client = plane.new_client()
            answer = await client.raw("GET", "/apis/metrics.k8s.io/v1beta1/nodes")
            assert answer.status == 403
            missing = await plane.client.raw("GET", "/apis/metrics.k8s.io/v1beta1/nodes/none")
            assert missing.status == 404
            assert json.loads(missing.body)["message"] == 'nodes.metrics.k8s.io "none" not found'

    control_plane(test)


# -- metrics of others ------------------------------------------------------------------------


def test_replicas_follow_the_metrics_of_an_adapter(control_plane, make, tmp_path):
    values = tmp_path / "values.json"

    async def test(plane):
        async def tell(**amounts):
            pods = [meta.name(p) for p in await plane.items("pods", selector="app=web")]
            values.write_text(json.dumps({"pods": pods, **amounts}))

        await plane.manager(autoscaling_s=0.2)
        await plane.run_pods()
        await plane.client.create("deployments.apps", make.deployment(replicas=1))
        await plane.until(lambda: plane.items("pods", selector="app=web"))
        await tell(requests="30", queue="1")
        served = {"custom.metrics.k8s.io": "v1beta2", "external.metrics.k8s.io": "v1beta1"}
        front_ca = plane.request_header["ca"]
        given = {"front_ca": front_ca, "values": str(values)}
        async with Extension(plane, "adapter", served, **given):
            target = {"type": "AverageValue", "averageValue": "10"}
            pods = {"type": "Pods", "pods": {"metric": {"name": "requests"}, "target": target}}
            await plane.client.create(AUTOSCALERS, autoscaler(pods))
            await plane.until(replicas(plane, 3))
            await tell(requests="1", queue="2")
            await plane.until(replicas(plane, 1))
            value = {"type": "Value", "value": "1"}
            outside = {"type": "External",
                       "external": {"metric": {"name": "queue"}, "target": value}}  # fmt: skip
            await plane.client.patch(
                AUTOSCALERS, "web", {"spec": {"metrics": [outside]}}, "default"
            )
            await plane.until(replicas(plane, 2))

    control_plane(test)
