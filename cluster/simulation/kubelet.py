"""A kubelet without containers: pods start, become ready, fail, finish and end after some time.

What runs on a machine outlives the kubelet's process, not the machine. A pod's annotations say how
it behaves: `sim/run-s` (it ends after that time, with `sim/exit`: a code or "flaky"), `sim/ready`
("never").
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientConfig, ClientError, Informer, WorkQueue
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

START_S, READY_S, STOP_S = (0.2, 2.0), (0.1, 2.0), (0.1, 4.0)
HEARTBEAT_S = 2.0
WORKERS = 4
LEASES = "leases.coordination.k8s.io"


@dataclass
class Container:
    """What runs for one pod on one machine."""

    uid: str
    namespace: str
    name: str
    starts_s: float
    ready_s: float
    ends_s: float | None
    exit_code: int
    stops_s: float | None = None
    running: bool = False
    exited: int | None = None
    unready_until_s: float = 0.0


Containers = dict[str, Container]
Started = Callable[[str, Container], None]
"""Called with the machine's name when a container begins to run."""


class Kubelet:
    """`pace`: all that pods take, as a share of what is usual."""

    def __init__(
        self, node: str, containers: Containers, started: Started, pace: float = 1.0
    ) -> None:
        self._node, self._containers, self._started = node, containers, started
        self._pace = pace

    async def start(self, seams: Seams, client: ClientConfig) -> None:
        self._clock, self._randomness = seams.clock, seams.randomness
        self._client = Client(client, seams, "kubelet")
        self._pods = Informer(
            self._client, "pods", field_selector=f"spec.nodeName={self._node}",
            indexers={"uid": lambda pod: [pod["metadata"]["uid"]]},
        )  # fmt: skip
        self._queue = WorkQueue(seams.clock, first_backoff_s=0.1, max_backoff_s=2.0)
        self._pods.subscribe(self._observe)
        self._tasks = [asyncio.create_task(self._run())]

    async def stop(self) -> None:
        """As if the machine lost its power: nothing is told to anybody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pods.stop()
        await self._client.close()

    async def _run(self) -> None:
        await self._persist(self._register)
        self._pods.start()
        await self._pods.synced()
        for uid in list(self._containers):
            self._queue.add(uid)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            for _ in range(WORKERS):
                group.create_task(self._work())

    def _observe(self, kind: str, old: Object | None, new: Object | None) -> None:
        self._queue.add((new or old or {})["metadata"]["uid"])

    async def _work(self) -> None:
        while True:
            uid = await self._queue.get()
            try:
                wait_s = await self._step(uid)
                self._queue.forget(uid)
                if wait_s is not None:
                    self._queue.add_after(uid, wait_s)
            except (ApiError, ClientError):
                self._queue.add_rate_limited(uid)
            finally:
                self._queue.done(uid)

    # ---- one pod

    async def _step(self, uid: str) -> float | None:
        """Bring container and status up to date; when to look again."""
        pod = next(iter(self._pods.by_index("uid", uid)), None)
        container = self._containers.get(uid)
        now_s = self._clock.now()
        if pod is None:
            self._containers.pop(uid, None)
            return None
        if container is None:
            if _is_over(pod):
                await self._end(pod)
                return None
            container = self._containers[uid] = self._new(pod, now_s)
        self._advance(pod, container, now_s)
        await self._report(pod, container)
        if container.exited is not None and pod["metadata"].get("deletionTimestamp"):
            self._containers.pop(uid, None)
            await self._end(pod)
            return None
        if container.exited is not None:
            return None
        return self._next_s(container, now_s)

    def _new(self, pod: Object, now_s: float) -> Container:
        pick, metadata = self._takes_s, pod["metadata"]
        given = metadata.get("annotations") or {}
        starts_s = now_s + pick(*START_S)
        never = given.get("sim/ready") == "never"
        run_s = given.get("sim/run-s")
        code = given.get("sim/exit", "0")
        return Container(
            metadata["uid"], metadata["namespace"], metadata["name"], starts_s,
            float("inf") if never else starts_s + pick(*READY_S),
            starts_s + float(run_s) * self._randomness.uniform(0.5, 1.5) if run_s else None,
            self._randomness.choice([0, 0, 1]) if code == "flaky" else int(code),
        )  # fmt: skip

    def _takes_s(self, least: float, most: float) -> float:
        return self._randomness.uniform(least, most) * self._pace

    def _advance(self, pod: Object, container: Container, now_s: float) -> None:
        """Time passes for what runs; a pod that goes is stopped."""
        going = pod["metadata"].get("deletionTimestamp")
        if going and container.stops_s is None:
            grace_s = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            stop_s = self._takes_s(*STOP_S) if container.running else 0.0
            container.stops_s = now_s + min(grace_s, stop_s)
        fresh = not container.running and container.exited is None
        if fresh and not going and now_s >= container.starts_s:
            container.running = True
            self._started(self._node, container)
        if container.running and container.ends_s is not None and now_s >= container.ends_s:
            container.running, container.exited = False, container.exit_code
        stopping = container.exited is None and container.stops_s is not None
        if stopping and now_s >= (container.stops_s or 0.0):
            container.running, container.exited = False, 143

    def _next_s(self, container: Container, now_s: float) -> float | None:
        marks = [
            container.starts_s, container.ready_s, container.ends_s, container.stops_s,
            container.unready_until_s,
        ]  # fmt: skip
        ahead = [m - now_s for m in marks if m is not None and now_s < m < float("inf")]
        return min(ahead) + 0.001 if ahead else None

    async def _report(self, pod: Object, container: Container) -> None:
        if _is_over(pod):
            return
        phase, ready = self._state(container)
        now_ready = meta.condition(pod, "Ready") or {}
        known = (pod.get("status") or {}).get("phase", "Pending"), now_ready.get("status")
        if known == (phase, str(ready)) or (phase == "Pending" and known[0] == "Pending"):
            return
        condition = {
            "type": "Ready", "status": str(ready),
            "lastTransitionTime": meta.format_time(self._clock.wall()),
        }  # fmt: skip
        address = f"10.{sum(map(ord, self._node)) % 250}.0.{int(container.uid[:2], 16)}"
        status = {
            "phase": phase, "conditions": [condition], "podIP": address,
            "podIPs": [{"ip": address}], "containerStatuses": [_container_status(container)],
        }  # fmt: skip
        patch = {"metadata": {"uid": container.uid}, "status": status}
        with contextlib.suppress(_Gone):
            await self._tell(pod, patch)

    def _state(self, container: Container) -> tuple[str, bool]:
        if container.exited is not None:
            return "Succeeded" if container.exited == 0 else "Failed", False
        if not container.running:
            return "Pending", False
        now_s = self._clock.now()
        ready = now_s >= container.ready_s and now_s >= container.unready_until_s
        return "Running", ready and container.stops_s is None

    async def _tell(self, pod: Object, patch: Object) -> None:
        metadata = pod["metadata"]
        try:
            await self._client.patch(
                "pods", metadata["name"], patch, metadata["namespace"],
                kind="strategic", subresource="status",
            )  # fmt: skip
        except ApiError as error:
            if error.code in (404, 409, 422):
                raise _Gone from error
            raise

    async def _end(self, pod: Object) -> None:
        """Nothing of it runs any more: the object may go."""
        metadata = pod["metadata"]
        if not metadata.get("deletionTimestamp"):
            return
        if not _is_over(pod):
            with contextlib.suppress(_Gone):
                status = {"phase": "Failed"}
                await self._tell(pod, {"metadata": {"uid": metadata["uid"]}, "status": status})
        with contextlib.suppress(_Gone):
            await self._remove(metadata)

    async def _remove(self, metadata: Object) -> None:
        try:
            await self._client.delete(
                "pods", metadata["name"], metadata["namespace"],
                grace_period_s=0, uid=metadata["uid"],
            )  # fmt: skip
        except ApiError as error:
            if error.code in (404, 409):
                raise _Gone from error
            raise

    # ---- the node

    async def _persist(self, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
                return
            except (ApiError, ClientError):
                await self._clock.sleep(0.5)

    async def _register(self) -> None:
        allocatable = {"cpu": "16", "memory": "64Gi", "pods": "110"}
        node = {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": self._node, "labels": {"kubernetes.io/hostname": self._node},
            },
            "status": {"allocatable": allocatable, "capacity": allocatable},
        }  # fmt: skip
        with contextlib.suppress(ApiError):
            await self._client.create("nodes", node)
        await self._ready()

    async def _ready(self) -> None:
        now = meta.format_time(self._clock.wall())
        condition = {
            "type": "Ready", "status": "True", "lastHeartbeatTime": now,
            "lastTransitionTime": now, "reason": "KubeletReady",
        }  # fmt: skip
        patch = {"status": {"conditions": [condition]}}
        await self._client.patch("nodes", self._node, patch, kind="strategic", subresource="status")

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(ApiError, ClientError):
                await self._renew()
                node = await self._client.get("nodes", self._node)
                if not meta.condition_is(node, "Ready"):
                    await self._ready()
            await self._clock.sleep(HEARTBEAT_S)

    async def _renew(self) -> None:
        spec = {
            "holderIdentity": self._node, "leaseDurationSeconds": 40,
            "renewTime": meta.format_micro_time(self._clock.wall()),
        }  # fmt: skip
        lease = {
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": self._node, "namespace": "kube-node-lease"}, "spec": spec,
        }  # fmt: skip
        try:
            await self._client.patch(LEASES, self._node, {"spec": spec}, "kube-node-lease")
        except ApiError as error:
            if error.code != 404:
                raise
            await self._client.create(LEASES, lease)


class _Gone(Exception):
    """Another pod, or none, has that name by now."""


def _is_over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _container_status(container: Container) -> Object:
    state: Object = {"running": {}}
    if container.exited is not None:
        state = {"terminated": {"exitCode": container.exited, "reason": "Completed"}}
    return {
        "name": "c", "image": "sim", "imageID": "sim", "restartCount": 0,
        "ready": container.running, "state": state,
    }  # fmt: skip
