"""The kills: pods that stay, pods that come and go meanwhile, and what became of all of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.client import Client
from cluster.faults.kubelets.held import Held, held
from cluster.faults.kubelets.process import KubeletProcess
from cluster.machinery.status import ApiError

Object = dict[str, Any]

PATIENCE_S = 180.0
PAUSE_MAX_S = 0.4
POLL_S = 0.05
CHURN_KEPT = 2


@dataclass
class Outcome:
    """`violations` is empty if all went well; `back_s`: from each start to a new pod's Running."""

    kills: int = 0
    pods: int = 0
    violations: list[str] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)

    def told(self) -> Object:
        ordered = sorted(self.back_s) or [0.0]
        return {
            "kills": self.kills,
            "pods_that_stayed": self.pods,
            "violations": self.violations[:10],
            "new_pod_running_s": {
                "median": round(ordered[len(ordered) // 2], 2),
                "longest": round(ordered[-1], 2),
            },
        }


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Raises TimeoutError if it does not come true in 3 minutes."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await check():
                return
            await asyncio.sleep(POLL_S)


class Kills:
    """In a namespace that exists. Raises TimeoutError if something does not come in 3 minutes."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        node: str,
        kubelet: KubeletProcess,
        rng: random.Random,
        image: str = "any",
    ) -> None:
        self._client, self._namespace, self._node = client, namespace, node
        self._data_dir, self._kubelet = kubelet.data_dir, kubelet
        self._rng, self._image = rng, image
        self._churn: list[str] = []
        self.outcome = Outcome()

    async def run(self, times: int, pods: int) -> Outcome:
        before = held(self._data_dir)
        stays = [f"stays-{number}" for number in range(pods)]
        for name in stays:
            await self._create(name)
        first = [await self._running(name) for name in stays]
        processes = held(self._data_dir).since(before).processes
        for number in range(times):
            await self._kill_once(number)
        self.outcome.kills, self.outcome.pods = times, pods
        for name, was in zip(stays, first, strict=True):
            self._compare(name, was, await self._running(name))
        gone = processes - held(self._data_dir).processes
        if gone:
            self.outcome.violations.append(f"processes of pods that stayed are gone: {gone}")
        await self._end([*stays, *self._churn])
        await self._nothing_left(before)
        return self.outcome

    async def _kill_once(self, number: int) -> None:
        """At some moment after a pod was made and another was told to go."""
        name = f"comes-{number}"
        await self._create(name)
        if len(self._churn) >= CHURN_KEPT:
            await self._delete(self._churn.pop(0))
        self._churn.append(name)
        await asyncio.sleep(self._rng.uniform(0, PAUSE_MAX_S))
        await asyncio.to_thread(self._kubelet.kill)
        await asyncio.sleep(self._rng.uniform(0, PAUSE_MAX_S))
        begun_s = time.perf_counter()
        self._kubelet.start()
        await self._running(name)
        self.outcome.back_s.append(time.perf_counter() - begun_s)

    def _compare(self, name: str, was: Object, now: Object) -> None:
        for key in ("containerID", "restartCount"):
            if was[key] != now[key]:
                self.outcome.violations.append(f"{name}: {key} was {was[key]}, is {now[key]}")

    async def _end(self, names: Sequence[str]) -> None:
        for name in names:
            await self._delete(name)

        async def gone() -> bool:
            return not (await self._client.list("pods", self._namespace))["items"]

        await until(gone)

    async def _nothing_left(self, before: Held) -> None:
        """Helpers of probes may live for a moment longer."""
        left = before

        async def nothing() -> bool:
            nonlocal left
            left = held(self._data_dir).since(before)
            return not left

        try:
            await until(nothing)
        except TimeoutError:
            self.outcome.violations.append(f"left behind: {left}")

    async def _running(self, name: str) -> Object:
        """The status of its container, once that runs and is ready."""
        statuses: list[Object] = []

        async def ready() -> bool:
            nonlocal statuses
            pod = await self._client.get("pods", name, self._namespace)
            statuses = pod["status"].get("containerStatuses") or []
            return bool(statuses and statuses[0]["ready"])

        await until(ready)
        return statuses[0]

    async def _delete(self, name: str) -> None:
        try:
            await self._client.delete("pods", name, self._namespace)
        except ApiError as error:
            if error.code != 404:
                raise

    async def _create(self, name: str) -> None:
        await self._client.create("pods", self._pod(name))

    def _pod(self, name: str) -> Object:
        """With a volume, a probe and a child process: what a kubelet could lose sight of."""
        container = {
            "name": "main",
            "image": self._image,
            "command": ["sh", "-c", "sleep 3600 & trap 'exit 0' TERM; wait"],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 5},
        }
        spec = {
            "nodeName": self._node,
            "containers": [container],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 2,
            "automountServiceAccountToken": False,
        }
        metadata = {"name": name, "namespace": self._namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
