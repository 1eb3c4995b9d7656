"""Controllers on simulated nodes: rollouts, many workloads, Jobs, the end of a large namespace.

usage: scripts/bench controllers [--nodes 100] [--scale 1.0] [SECTION...]

Sections: rollout (a Deployment of 1,000 pods rolls out and rolls over), deployments (100 of 10
pods), jobs (1,000), namespace (one with 5,000 objects is deleted). Pods are Running and Ready as
soon as their node hears of them, Jobs' pods end at once, so that only the control plane is
measured. Every figure says what each part of the cluster spent, and which requests it made.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop
from whole import Whole, tell_shape, whole

from actors import collector
from cluster.kubelet.simulated.nodes import Model
from cluster.kubelet.simulated.registration import register
from cluster.machinery.status import ApiError

Object = dict[str, Any]

CONCURRENT = 24
SECTIONS = ("rollout", "deployments", "jobs", "namespace")


class Bench:
    def __init__(self, cluster: Whole, scale: float) -> None:
        self._cluster = cluster
        self._scale = scale

    def _scaled(self, number: int) -> int:
        return max(2, round(number * self._scale))

    async def run(self, nodes: int, sections: Sequence[str]) -> None:
        client = self._cluster.client = self._cluster.new_client()
        async with self._cluster.measured(f"{nodes} nodes Ready", nodes):
            await register(client, nodes, Model(zones=("a", "b", "c")), fleets=["fleet-0"])
            while self._cluster.facts("fleet")[0].get("reported_ready", 0) < nodes:
                await asyncio.sleep(0.1)
        for section in sections:
            await self._in_namespace(section, getattr(self, f"_{section}"))
        await client.close()

    async def _in_namespace(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """In a namespace of its own, which is gone afterwards."""
        client = self._cluster.client
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await client.create("namespaces", namespace)
        while not (await client.list("serviceaccounts", name))["items"]:
            await asyncio.sleep(0.05)
        await work()
        await self._delete_namespace(name)

    async def _delete_namespace(self, name: str) -> None:
        """And wait until it is gone, if it was there."""
        with contextlib.suppress(ApiError):
            await self._cluster.client.delete("namespaces", name)
        await self._cluster.none_left("namespaces", "", f"metadata.name={name}")

    async def _rollout(self) -> None:
        client, size = self._cluster.client, self._scaled(1000)
        async with self._cluster.measured("a Deployment rolls out", size):
            await client.create("deployments.apps", _deployment("web", "rollout", size))
            await self._rolled_out("rollout", ["web"])
        async with self._cluster.measured("and rolls over", size):
            changed = _deployment("web", "rollout", size, image="app:2")
            patch = {"spec": {"template": changed["spec"]["template"]}}
            await client.patch("deployments.apps", "web", patch, "rollout")
            await self._rolled_out("rollout", ["web"])
        async with self._cluster.measured("and is deleted", size):
            await client.delete("deployments.apps", "web", "rollout", propagation="Background")
            await self._cluster.none_left("pods", "rollout")

    async def _deployments(self) -> None:
        count = self._scaled(100)
        names = [f"web-{number}" for number in range(count)]
        async with self._cluster.measured(f"{count} Deployments roll out", count * 10):
            new = [_deployment(name, "deployments", 10) for name in names]
            await self._create_all("deployments.apps", new)
            await self._rolled_out("deployments", names)

    async def _jobs(self) -> None:
        count = self._scaled(1000)
        async with self._cluster.measured(f"{count} Jobs complete", count):
            await self._create_all("jobs.batch", [_job(number) for number in range(count)])
            await self._complete("jobs", count)

    async def _namespace(self) -> None:
        """A mixture: half of the objects are pods that run."""
        size = self._scaled(5000)
        pods, rest = size // 2, size - size // 2
        maps = [_config_map(number) for number in range(rest)]
        await self._create_all("configmaps", maps)
        await self._cluster.client.create("deployments.apps", _deployment("web", "namespace", pods))
        await self._rolled_out("namespace", ["web"])
        async with self._cluster.measured("a namespace is deleted", size):
            await self._delete_namespace("namespace")

    async def _create_all(self, resource: str, new: Sequence[Object]) -> None:
        waiting = iter(new)

        async def create() -> None:
            for obj in waiting:
                await self._cluster.client.create(resource, obj)

        await asyncio.gather(*(create() for _ in range(CONCURRENT)))

    async def _rolled_out(self, namespace: str, names: Sequence[str]) -> None:
        """Until every Deployment says what `kubectl rollout status` waits for."""
        waiting = set(names)
        while waiting:
            for item in (await self._cluster.client.list("deployments.apps", namespace))["items"]:
                if _is_rolled_out(item):
                    waiting.discard(item["metadata"]["name"])
            await asyncio.sleep(0.1)

    async def _complete(self, namespace: str, count: int) -> None:
        while True:
            jobs = (await self._cluster.client.list("jobs.batch", namespace))["items"]
            if sum((job.get("status") or {}).get("succeeded", 0) for job in jobs) == count:
                return
            await asyncio.sleep(0.3)


def _is_rolled_out(item: Object) -> bool:
    status, wanted = item.get("status") or {}, item["spec"]["replicas"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = status.get("observedGeneration", 0) >= item["metadata"]["generation"]
    return seen and counts == [wanted] * 3


def _template(name: str, image: str = "app:1", **more: Any) -> Object:
    requests = {"cpu": "10m", "memory": "16Mi"}
    container = {"name": "main", "image": image, "resources": {"requests": requests}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1, **more}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def _deployment(name: str, namespace: str, replicas: int, image: str = "app:1") -> Object:
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": _template(name, image),
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _job(number: int) -> Object:
    template = _template("job", restartPolicy="Never")
    template["metadata"]["annotations"] = {"raykube.dev/simulate": "{exit: {after: 0s}}"}
    metadata = {"name": f"job-{number:04d}", "namespace": "jobs"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"template": template},
    }


def _config_map(number: int) -> Object:
    metadata = {"name": f"config-{number:05d}", "namespace": "namespace"}
    data = {"key": "value" * 20}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--members", default="3", choices=["1", "3", "5"])
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    arguments = parser.parse_args()
    sections = arguments.sections or SECTIONS
    if unknown := sorted(set(sections) - set(SECTIONS)):
        parser.error(f"no section {unknown[0]!r}; there are: {', '.join(SECTIONS)}")
    collector.calm()
    tell_shape(**vars(arguments))
    with whole("--nodes", "0", "--fleets", "1", "--members", arguments.members) as cluster:
        uvloop.install()
        asyncio.run(Bench(cluster, arguments.scale).run(arguments.nodes, sections))


if __name__ == "__main__":
    main()
