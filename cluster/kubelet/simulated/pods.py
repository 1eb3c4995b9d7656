"""The pods of one fleet: follows those bound to its nodes and reports how their lives go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actors.seams import Seams
from cluster.client import Client, EventRecorder, Informer, WorkQueue
from cluster.client.pods import remove_now
from cluster.client.workers import Workers
from cluster.kubelet import pod_status, pod_worker
from cluster.kubelet.backoff import Limits
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.simulated import adoption
from cluster.kubelet.simulated.account import Account
from cluster.kubelet.simulated.behaviour import Behaviour, Rule, StartError
from cluster.kubelet.simulated.life import Life, advance
from cluster.kubelet.simulated.parsing import BehaviourError, of_pod
from cluster.kubelet.simulated.understood import Node, understood
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]
Rules = Callable[[], tuple[Rule, ...]]

CONCURRENT = 24
LIMIT = 1_000_000


@dataclass
class Record:
    """One pod. `refusal`: why it may not run; `told`: the status that the API was given last, and
    `version` the pod's resource version since then."""

    uid: str
    node: str
    life: Life
    behaviour: Behaviour = field(default_factory=Behaviour)
    refusal: tuple[str, str] | None = None
    told: Object | None = None
    version: int = 0
    wake_at_s: float | None = None
    deleted: bool = False


class Pods:
    """`rules` gives the behaviours for many pods, as they are now."""

    def __init__(
        self, client: Client, seams: Seams, nodes: Informer, host_ip: str, rules: Rules
    ) -> None:
        self._client = client
        self._clock = seams.clock
        self._nodes = nodes
        self._host_ip = host_ip
        self._rules = rules
        self._limits = Limits()
        self._accounts: dict[str, Account] = {}
        self._records: dict[str, Record] = {}
        self._events = EventRecorder(client, seams, "kubelet", "simulated")
        self.informer = Informer(
            client,
            "pods",
            field_selector="spec.nodeName!=",
            indexers={"node": lambda pod: [_node_of(pod)]},
        )
        self._queue = WorkQueue(seams.clock, first_backoff_s=0.1, max_backoff_s=10.0, limit=LIMIT)
        self._workers = Workers("pod", self._queue, self._reconcile, CONCURRENT)

    def __len__(self) -> int:
        return len(self._records)

    def start(self) -> None:
        """Both informers have synced: pods that run already keep what they have."""
        for node in self._nodes.list():
            self._accounts[node["metadata"]["name"]] = Account(node)
        for pod in self.informer.list():
            self._hold(pod)
        self._nodes.subscribe(self._node_changed)
        self.informer.subscribe(self._pod_changed)
        self._events.start()
        self._workers.start()

    async def stop(self) -> None:
        await self._workers.stop()
        await self._events.stop()
        await self.informer.stop()

    def look_again(self) -> None:
        """Other rules hold."""
        for key in self._records:
            self._look_at(key)

    def _look_at(self, key: str) -> None:
        """Whatever was decided before: something else than the pod has changed."""
        if (record := self._records.get(key)) is not None:
            record.version = 0
        self._queue.add(key)

    def pod_objects(self) -> list[Object]:
        found = (self.informer.get(key) for key in self._records)
        return [pod for pod in found if pod is not None]

    def container_attempts(self, namespace: str, pod: str, name: str) -> Sequence[Container] | None:
        """Attempts, oldest first; None if there is no such pod or container."""
        key = f"{namespace}/{pod}"
        found, record = self.informer.get(key), self._records.get(key)
        if found is None or record is None:
            return None
        if name not in {container["name"] for container in pod_worker.all_containers(found)}:
            return None
        return [container for container in record.life.containers if container.name == name]

    def pod_address(self, namespace: str, pod: str) -> str:
        record = self._records.get(f"{namespace}/{pod}")
        return record.life.pod_ip if record is not None else ""

    def container(self, container_id: str) -> Container | None:
        """None if there is none of that id (any more)."""
        every = (c for record in self._records.values() for c in record.life.containers)
        return next((c for c in every if c.container_id == container_id), None)

    def behaviour(self, container_id: str) -> Behaviour:
        """Of the container's pod."""
        for record in self._records.values():
            if any(c.container_id == container_id for c in record.life.containers):
                return record.behaviour
        return Behaviour()

    def _hold(self, pod: Object) -> None:
        account = self._accounts.get(_node_of(pod))
        address = (pod.get("status") or {}).get("podIP")
        if account is None or not address:
            return
        account.keep_address(pod["metadata"]["uid"], address)
        if not pod_worker.is_terminal(pod):
            account.hold(pod)

    def _node_changed(self, kind: str, old: Object | None, new: Object | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        if new is None:
            self._accounts.pop(name, None)
        elif name in self._accounts:
            self._accounts[name].update(new)
        else:
            self._accounts[name] = Account(new)
            for pod in self.informer.by_index("node", name):
                self._hold(pod)
        if old is None or new is None or _annotations(old) != _annotations(new):
            for pod in self.informer.by_index("node", name):
                self._look_at(meta.key(pod))

    def _pod_changed(self, kind: str, old: Object | None, new: Object | None) -> None:
        pod = new or old or {}
        key = meta.key(pod)
        if _node_of(pod) in self._accounts or key in self._records:
            self._queue.add(key)

    async def _reconcile(self, key: str) -> float | None:
        pod, record = self.informer.get(key), self._records.get(key)
        if record is not None and (pod is None or pod["metadata"]["uid"] != record.uid):
            self._forget(key, record)
            record = None
        found = self._nodes.get(_node_of(pod)) if pod is not None else None
        node = understood(found) if found is not None else None
        if pod is None or node is None or not node.own.powered:
            return None
        if record is None:
            record = self._records[key] = self._take(pod)
        elif self._is_settled(pod, record):
            return self._wait_s(record)
        record.behaviour = self._behaviour(pod, node)
        return await self._go_on(pod, record)

    def _is_settled(self, pod: Object, record: Record) -> bool:
        """Whether nothing has changed since our own last write, and nothing is due."""
        is_own = pod["metadata"]["resourceVersion"] == str(record.version)
        return is_own and (record.wake_at_s is None or record.wake_at_s > self._clock.wall())

    def _wait_s(self, record: Record) -> float | None:
        at_s = record.wake_at_s
        return None if at_s is None else max(0.0, at_s - self._clock.wall())

    def _forget(self, key: str, record: Record) -> None:
        del self._records[key]
        if (account := self._accounts.get(record.node)) is not None:
            account.release(record.uid)

    def _take(self, pod: Object) -> Record:
        """A pod that this process did not know: one that runs goes on, others are admitted."""
        uid, node = pod["metadata"]["uid"], _node_of(pod)
        account = self._accounts[node]
        record = Record(uid, node, adoption.adopted(pod, self._clock.wall()))
        if pod_worker.is_terminal(pod):
            return record
        record.refusal = account.admit(pod)
        if record.refusal is not None:
            self._warn(pod, *record.refusal)
        elif not record.life.pod_ip:
            shared = pod["spec"].get("hostNetwork")
            address = self._host_ip if shared else account.address(uid)
            record.life = replace(record.life, pod_ip=address)
        return record

    def _behaviour(self, pod: Object, node: Node) -> Behaviour:
        """An annotation that says nothing keeps the pod's containers from being created."""
        try:
            return of_pod(pod, node.pods, self._rules())
        except BehaviourError as error:
            return Behaviour(fail_start=StartError("InvalidSimulation", str(error)))

    def _warn(self, pod: Object, reason: str, message: str) -> None:
        subject = {"kind": "Pod", "apiVersion": "v1"} | pod
        self._events.event(subject, "Warning", reason, message)

    async def _go_on(self, pod: Object, record: Record) -> float | None:
        deleting = pod["metadata"].get("deletionTimestamp") is not None
        now_s = self._clock.wall()
        if record.deleted:
            return None
        if record.refusal is not None and not deleting:
            if not pod_worker.is_terminal(pod):
                await self._tell(pod, record, pod_status.rejected(pod, *record.refusal, now_s))
            return None
        step = advance(record.life, pod, record.behaviour, now_s, self._host_ip, self._limits)
        record.life, record.wake_at_s = step.life, step.wake_at_s
        if step.finished:
            self._give_back(record)
            if deleting:
                await self._end(pod, record)
                return None
        await self._tell(pod, record, step.life.status)
        return self._wait_s(record)

    def _give_back(self, record: Record) -> None:
        if (account := self._accounts.get(record.node)) is not None:
            account.give_back(record.uid)

    async def _end(self, pod: Object, record: Record) -> None:
        """How it ended is told only where somebody holds on to the pod to learn it."""
        if pod["metadata"].get("finalizers"):
            await self._tell(pod, record, record.life.status)
        await remove_now(self._client, pod)
        record.deleted = True

    async def _tell(self, pod: Object, record: Record, status: Object) -> None:
        metadata = pod["metadata"]
        if status == record.told and int(metadata["resourceVersion"]) < record.version:
            return
        if adoption.is_told(pod, status):  # else somebody has changed it, or it is new
            record.told = status
            return
        try:
            patched = await self._client.patch(
                "pods",
                metadata["name"],
                {"metadata": {"uid": record.uid}, "status": status},
                metadata["namespace"],
                kind="strategic",
                subresource="status",
            )
        except ApiError as error:
            if error.code != 404 and not (error.code == 409 and await self._is_gone(pod)):
                raise
        else:
            seen = adoption.is_all_seen(pod, patched, status)
            record.version = int(patched["metadata"]["resourceVersion"]) if seen else 0
        record.told = status

    async def _is_gone(self, pod: Object) -> bool:
        """Whether a conflict means that the name is another pod's now."""
        metadata = pod["metadata"]
        try:
            found = await self._client.get("pods", metadata["name"], metadata["namespace"])
        except ApiError as error:
            return error.code == 404
        return bool(found["metadata"]["uid"] != metadata["uid"])


def _node_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _annotations(obj: Object) -> Object:
    return obj["metadata"].get("annotations") or {}
