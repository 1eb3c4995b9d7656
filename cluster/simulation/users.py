"""What people do to a cluster: a list of small actions on a few objects, chosen by the seed."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from actors.seams import Randomness
from cluster.client import Client, ClientError
from cluster.machinery.status import ApiError
from cluster.simulation import manifests
from cluster.simulation.checks.history import History, is_active
from cluster.simulation.checks.ownership import Ownership

Object = dict[str, Any]

SPACE = "default"
POLICIES = ("Background", "Background", "Foreground", "Orphan")
DEPLOYMENTS, SETS, DAEMONS = "deployments.apps", "statefulsets.apps", "daemonsets.apps"
JOBS, CRONJOBS, BUDGETS = "jobs.batch", "cronjobs.batch", "poddisruptionbudgets.policy"
Action = Callable[[], Awaitable[None]]


class Users:
    """Acts through a client of its own; reads what there is from the history of the store."""

    def __init__(
        self, client: Client, randomness: Randomness, history: History,
        ownership: Ownership, clock: Any,
    ) -> None:  # fmt: skip
        self._client, self._random, self._history = client, randomness, history
        self._ownership, self._clock = ownership, clock
        self.done: list[str] = []
        self.forced: set[str] = set()
        """Uids of pods that were removed without waiting for their containers."""
        self._number = 0
        self._last_template: Object = {}
        self._actions = self._choose()

    def _choose(self) -> list[Action]:
        """Some themes only, so that what happens in a seed is dense."""
        themes = {
            "deployments": [self._deployment] * 3 + [self._some_pod],
            "statefulsets": [self._stateful_set] * 3 + [self._some_pod],
            "daemonsets": [self._daemon_set] * 2,
            "jobs": [self._job] * 3,
            "cronjobs": [self._cronjob],
            "budgets": [self._budget, self._evict, self._evict, self._drain],
            "namespaces": [self._namespace] * 2,
            "owners": [self._config_maps] * 2,
            "labels": [self._relabel] * 2,
        }
        names = self._random.sample(sorted(themes), self._random.randint(2, 5))
        if "labels" in names or "budgets" in names:
            names += [self._random.choice(["deployments", "statefulsets"])]
        return [action for name in dict.fromkeys(names) for action in themes[name]]

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep(self._random.expovariate(1.0))
            await self._try(self._random.choice(self._actions))

    async def _try(self, action: Action) -> None:
        with contextlib.suppress(ApiError, ClientError):
            await action()

    async def settle(self) -> None:
        """Undo what keeps things from becoming as they should; until it has worked.

        Once is not enough: what a user asked for last may still be on its way.
        """
        self._last_template = self._last_template or manifests.healthy(self._next())
        while True:
            try:
                await self._settle()
                return
            except (ApiError, ClientError):
                await self._clock.sleep(0.5)

    async def _settle(self) -> None:
        for node in self._history.kinds("Node"):
            if (node.get("spec") or {}).get("unschedulable"):
                await self._patch("nodes", node, {"spec": {"unschedulable": False}})
        for deployment in self._history.kinds("Deployment"):
            change: Object = {"paused": False, "template": self._last_template}
            await self._patch(DEPLOYMENTS, deployment, {"spec": change})
        for cronjob in self._history.kinds("CronJob"):
            await self._patch(CRONJOBS, cronjob, {"spec": {"suspend": True}})
        for job in self._history.kinds("Job"):
            if job["spec"].get("suspend") or job["spec"].get("parallelism") == 0:
                await self._patch(JOBS, job, {"spec": {"suspend": False, "parallelism": 1}})
        for pod in self._find("Pod"):
            if (pod["metadata"].get("labels") or {}).get("app", "").endswith("-out"):
                self._history.blamed.add(pod["metadata"]["uid"])
                await self._delete("pods", pod)  # It may have the name of an identity.
        for each in self._history.kinds("ReplicaSet"):
            template = each["spec"]["template"]["metadata"].get("annotations") or {}
            if "sim/ready" in template and not each["metadata"].get("ownerReferences"):
                await self._delete("replicasets.apps", each)

    # ---- helpers

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _note(self, text: str) -> None:
        self.done.append(f"{self._clock.now() - 1000.0:.2f} {text}")

    def _find(self, kind: str, space: str = SPACE) -> list[Object]:
        found = self._history.kinds(kind)
        return [o for o in found if o["metadata"].get("namespace", space) == space]

    async def _patch(self, resource: str, obj: Object, patch: Object) -> None:
        metadata = obj["metadata"]
        self._note(f"patch {resource} {metadata['name']} {patch}")
        await self._client.patch(resource, metadata["name"], patch, metadata.get("namespace", ""))

    async def _create(self, resource: str, obj: Object) -> None:
        self._note(f"create {resource} {obj['metadata']['name']}")
        await self._client.create(resource, obj)

    async def _delete(self, resource: str, obj: Object) -> None:
        policy = self._random.choice(POLICIES)
        metadata = obj["metadata"]
        self._note(f"delete {resource} {metadata['name']} {policy}")
        await self._client.delete(
            resource, metadata["name"], metadata.get("namespace", ""), propagation=policy
        )

    async def _change(self, resource: str, kind: str, name: str, new: Object, changes: Any) -> None:
        """Create it if it is not there; change it, or at times delete it, otherwise."""
        found = [o for o in self._find(kind) if o["metadata"]["name"] == name]
        if not found:
            await self._create(resource, new)
        elif self._random.random() < 0.12:
            await self._delete(resource, found[0])
        else:
            await self._patch(resource, found[0], {"spec": self._random.choice(changes)})

    # ---- workloads

    async def _deployment(self) -> None:
        pick, number = self._random, self._next()
        name = pick.choice(["web", "api"])
        new = manifests.deployment(name, pick)
        changes: list[Object] = [
            {"replicas": pick.randint(0, 6)},
            {"replicas": pick.randint(1, 6)},
            {"template": manifests.healthy(number)},
            {"template": manifests.healthy(pick.randint(1, 3))},
            {"template": manifests.never_ready(number)},
            {"paused": pick.random() < 0.4},
            {"strategy": manifests.strategy(pick)},
        ]
        await self._change(DEPLOYMENTS, "Deployment", name, new, changes)
        with contextlib.suppress(ApiError):
            await self._client.create("services", manifests.service(name))

    async def _stateful_set(self) -> None:
        pick, number = self._random, self._next()
        name = pick.choice(["db", "queue"])
        template = manifests.healthy(number)
        changes: list[Object] = [
            {"replicas": pick.randint(0, 5)},
            {"template": template},
            {"template": template, "replicas": pick.randint(1, 4)},
            {"updateStrategy": {"rollingUpdate": {"partition": pick.randint(0, 3)}}},
        ]
        new = manifests.stateful_set(name, pick)
        await self._change(SETS, "StatefulSet", name, new, changes)

    async def _daemon_set(self) -> None:
        pick, number = self._random, self._next()
        changes = [
            {"template": manifests.healthy(number)},
            {"updateStrategy": {"rollingUpdate": manifests.daemon_limits(pick)}},
        ]
        await self._change(DAEMONS, "DaemonSet", "agent", manifests.daemon_set(pick), changes)

    async def _job(self) -> None:
        jobs = self._find("Job")
        if len(jobs) < 4 and self._random.random() < 0.6:
            await self._create(JOBS, manifests.job(f"job-{self._next()}", self._random))
        elif jobs:
            job = self._random.choice(jobs)
            if self._random.random() < 0.4:
                await self._delete(JOBS, job)
            else:
                changes: list[Object] = [{"suspend": self._random.random() < 0.5}]
                changes += [{"parallelism": self._random.randint(0, 4)}]
                await self._patch(JOBS, job, {"spec": self._random.choice(changes)})

    async def _cronjob(self) -> None:
        policy = self._random.choice(["Allow", "Forbid", "Replace"])
        changes = [{"concurrencyPolicy": policy}, {"suspend": self._random.random() < 0.3}]
        new = manifests.cronjob(policy, self._random)
        await self._change(CRONJOBS, "CronJob", "tick", new, changes)

    async def _some_pod(self) -> None:
        """Delete a pod; now and then without waiting for it."""
        pods = [p for p in self._find("Pod") if is_active(p)]
        if not pods:
            return
        metadata = self._random.choice(pods)["metadata"]
        self._history.blamed.add(metadata["uid"])
        grace_s = None
        if self._random.random() < 0.1:
            grace_s = 0
            self.forced.add(metadata["uid"])
        self._note(f"delete pod {metadata['name']} {grace_s}")
        await self._client.delete(
            "pods", metadata["name"], SPACE, grace_period_s=grace_s, uid=metadata["uid"]
        )

    async def _relabel(self) -> None:
        """Take a pod out of its owner's sight, or give it back."""
        pods = [p for p in self._find("Pod") if is_active(p)]
        pods = [p for p in pods if (p["metadata"].get("labels") or {}).get("app")]
        if not pods:
            return
        pod = self._random.choice(pods)
        label = pod["metadata"]["labels"]["app"]
        name = label.removesuffix("-out") if label.endswith("-out") else f"{label}-out"
        self._history.blamed.add(pod["metadata"]["uid"])
        await self._patch("pods", pod, {"metadata": {"labels": {"app": name}}})

    # ---- disruptions

    async def _budget(self) -> None:
        labels = self._random.choice(["web", "api", "db", "queue"])
        number = self._random.randint(0, 3)
        spec: Object = self._random.choice(
            [{"minAvailable": number}, {"maxUnavailable": number}, {"maxUnavailable": "34%"}]
        )
        found = [b for b in self._find("PodDisruptionBudget") if b["metadata"]["name"] == labels]
        if found:
            await self._delete(BUDGETS, found[0])
        else:
            await self._create(BUDGETS, manifests.budget(labels, spec))

    async def _evict(self) -> None:
        pods = [p for p in self._find("Pod") if is_active(p)]
        if pods:
            await self._evict_one(self._random.choice(pods))

    async def _evict_one(self, pod: Object) -> None:
        metadata = pod["metadata"]
        self._history.blamed.add(metadata["uid"])
        self._note(f"evict {metadata['name']}")
        body = {"metadata": {"name": metadata["name"], "namespace": metadata["namespace"]}}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", **body}
        await self._client.create(
            "pods", eviction, metadata["namespace"], subresource="eviction", name=metadata["name"]
        )

    async def _drain(self) -> None:
        """As kubectl: cordon, evict all but daemons, and after a while uncordon."""
        nodes = self._history.kinds("Node")
        if not nodes:
            return
        node = self._random.choice(nodes)
        name = node["metadata"]["name"]
        await self._patch("nodes", node, {"spec": {"unschedulable": True}})
        for _ in range(4):
            for pod in self._history.kinds("Pod"):
                if pod["spec"].get("nodeName") == name and is_active(pod) and not _is_daemon(pod):
                    with contextlib.suppress(ApiError):
                        await self._evict_one(pod)
            await self._clock.sleep(self._random.uniform(0.5, 2.0))
        await self._patch("nodes", node, {"spec": {"unschedulable": False}})

    # ---- owners

    async def _namespace(self) -> None:
        found = [n for n in self._history.kinds("Namespace") if n["metadata"]["name"] == "temp"]
        if found and self._random.random() < 0.5:
            self._note("delete namespace temp")
            await self._client.delete("namespaces", "temp")
            return
        if not found:
            await self._create("namespaces", manifests.namespace("temp"))
        pick, number = self._random, self._next()
        new = [
            (DEPLOYMENTS, manifests.deployment("web", pick)),
            (JOBS, manifests.job(f"job-{number}", pick)),
            (SETS, manifests.stateful_set("db", pick)),
            ("configmaps", manifests.config_map(f"map-{number}")),
        ]
        resource, obj = pick.choice(new)
        obj["metadata"]["namespace"] = "temp"
        await self._create(resource, obj)

    async def _config_maps(self) -> None:
        """Trees of config maps: only the collector acts on them."""
        maps = [m for m in self._find("ConfigMap") if m["metadata"]["name"].startswith("map-")]
        if len(maps) < 3 or (len(maps) < 12 and self._random.random() < 0.7):
            owners = self._random.sample(maps, min(len(maps), self._random.randint(0, 2)))
            blocking = self._random.random() < 0.5
            new = manifests.config_map(f"map-{self._next()}", owners, blocking)
            await self._create("configmaps", new)
            return
        chosen = self._random.choice(maps)
        self._ownership.removed.add(f"configmaps/{SPACE}/{chosen['metadata']['name']}")
        await self._delete("configmaps", chosen)


def _is_daemon(pod: Object) -> bool:
    references = pod["metadata"].get("ownerReferences") or ()
    return any(r["kind"] == "DaemonSet" for r in references)
