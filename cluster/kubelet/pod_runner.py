"""Carries out for one pod what `pod_worker` decides, and reports what came of it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from cluster.client import ClientError
from cluster.client.pods import remove_now
from cluster.kubelet import (
    container_config,
    environment,
    pod_status,
    pod_worker,
    post_start,
    resizing,
    runtime_classes,
)
from cluster.kubelet.backoff import Backoff
from cluster.kubelet.container_killer import ContainerKiller
from cluster.kubelet.environment import ConfigError
from cluster.kubelet.images.manager import ImageNotReady, Request
from cluster.kubelet.node import Node
from cluster.kubelet.pod_inputs import Objects, PodInputs
from cluster.kubelet.pod_worker import Decision, Ending, Kill, Observed, Start, StartFailure
from cluster.kubelet.prober import ContainerProber
from cluster.kubelet.resizer import Resizer
from cluster.kubelet.runtimes import records
from cluster.kubelet.runtimes.base import Container, RuntimeFailure, SandboxFailure
from cluster.kubelet.sandbox import AddressesExhausted
from cluster.kubelet.termination import TerminationMessages
from cluster.machinery.status import ApiError

Object = dict[str, Any]

log = logging.getLogger(__name__)

_KEPT_ATTEMPTS = 2
_RETRY_S = 2.0


class _NotYet(Exception):
    """Something that a container needs is not there; an event has said what."""


class PodRunner:
    """One task per pod. `wake` it when anything about the pod may have changed."""

    def __init__(
        self,
        node: Node,
        pod: Object,
        on_released: Callable[[str], None],
        mirror: Callable[[], Object | None] | None = None,
    ) -> None:
        """`mirror`: of a pod of the node's own, what stands for it in the API."""
        self.mirror = mirror
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self._node = node
        self._on_released = on_released
        self._wake = asyncio.Event()
        self._status: Object = {}
        self._failures: dict[str, StartFailure] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._probers: dict[str, ContainerProber] = {}
        self._killer = ContainerKiller(node.runtime, node.handlers, self.wake)
        self._gone = False
        self._refresh = False
        self._warned = False
        self._reclaimed = False
        self._ending: Ending | None = None
        self._stopping = asyncio.Event()
        self._messages = TerminationMessages(node.data_dir, self.uid)
        self._inputs = PodInputs(
            node,
            lambda: self.pod,
            self._messages,
            lambda reason, text: self._event("Warning", reason, text),
        )
        self._resizer = Resizer(
            self.uid, node.data_dir, node.runtime, node.groups, node.refusal, node.allocatable
        )
        self._released = False
        self._task = asyncio.create_task(self._run(), name=f"pod {pod['metadata']['name']}")
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    def update(self, pod: Object) -> None:
        self.pod = pod
        self._refresh = True
        if pod["metadata"].get("deletionTimestamp"):
            self._stopping.set()
        self.wake()

    def references_changed(self) -> None:
        """A ConfigMap or Secret of the namespace is new: volumes follow, failures are retried."""
        self._refresh = True
        self._failures.clear()
        self.wake()

    def volumes_changed(self) -> None:
        """What the pod's claims stand for may be there now, or have grown."""
        if not self._node.volumes.look_again(self.uid) and not self._inputs.volume_tries:
            return
        self._refresh = True
        if self._inputs.volume_tries:
            self._failures.clear()
        self.wake()

    @property
    def is_ending(self) -> bool:
        """Whether the node ends it."""
        return self._ending is not None

    @property
    def is_over(self) -> bool:
        """It has ended for good, and nothing of it runs."""
        running = any(each.running for each in self._node.runtime.containers(self.uid))
        return self._status.get("phase") in ("Succeeded", "Failed") and not running

    def end(self, reason: str, message: str, grace_s: float) -> None:
        """The node can have it here no longer; it fails. An earlier reason stands."""
        if self._ending is None and not self._gone:
            self._ending = Ending(reason, message, grace_s)
            self._stopping.set()
            self._event("Warning", reason, message)
            self.wake()

    def gone(self) -> None:
        """The API has no such pod any more (forced deletion): end it without a report."""
        self._gone = True
        self._stopping.set()
        self.wake()

    async def stop(self) -> None:
        """The kubelet ends; the containers go on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._killer.stop()
        await asyncio.gather(*(prober.stop() for prober in self._probers.values()))

    def containers(self, name: str) -> list[Container]:
        return [c for c in self._node.runtime.containers(self.uid) if c.name == name]

    async def _run(self) -> None:
        delay_s: float | None = None
        while not self._released:
            await self._wait(delay_s)
            try:
                delay_s = await self._sync()
            except (ClientError, ApiError, OSError) as error:
                log.warning("pod %s: %s; trying again", self.uid, error)
                delay_s = _RETRY_S

    async def _wait(self, delay_s: float | None) -> None:
        if not self._wake.is_set():
            timer = None
            if delay_s is not None:
                timer = self._node.seams.clock.call_later(max(0.0, delay_s), self.wake)
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        self._wake.clear()

    async def _sync(self) -> float | None:
        """One pass; returns in how many seconds to look again at the latest."""
        await self._adopt_running()
        await self._resize()
        now_s = self._node.seams.clock.wall()
        pod = self._current()
        decision = pod_worker.decide(pod, self._observed(), now_s, self._node.limits)
        self._report(pod, decision)
        stops = self._ending is not None or pod_worker.must_stop(pod, now_s)
        runs_on = not stops and not pod_worker.is_terminal(pod)
        if runs_on and (self._refresh or self._token_due_s() <= now_s):
            self._refresh = False
            await self._inputs.refresh_volumes(pod)
        for action in decision.actions:
            if isinstance(action, Start):
                await self._start(pod, action)
            elif isinstance(action, Kill):
                self._kill(action)
            else:
                await self._finish(pod)
        wake_s = math.inf if decision.wake_at_s is None else decision.wake_at_s
        wake_s = min(wake_s, self._token_due_s() if runs_on else math.inf)
        return None if wake_s == math.inf else wake_s - now_s

    @property
    def allotted(self) -> Object:
        """The pod with the resources that it has been given."""
        return resizing.as_given(self.pod, self._resizer.allotment)

    async def _resize(self) -> None:
        if self._gone or self.is_ending or self.is_over:
            return
        self._resizer.allot(self.pod)
        for each in await self._resizer.enforce(self.allotted):
            text = f"Container {each.name} resize requires restart"
            grace_s = pod_worker.grace_period_s(self.pod)
            self._kill(Kill(each.container_id, each.name, grace_s, text))

    def _token_due_s(self) -> float:
        due_s = self._node.tokens.due_s(self.uid)
        return math.inf if due_s is None else due_s

    def _current(self) -> Object:
        """The pod with our own latest status, which the API may not show us yet."""
        status = dict(self.pod.get("status") or {})
        if self._status:
            own = {entry["type"]: entry for entry in self._status["conditions"]}
            ours = {*own, *resizing.CONDITIONS}
            others = [c for c in status.get("conditions") or () if c.get("type") not in ours]
            status |= self._status | {"conditions": [*own.values(), *others]}
        metadata = self.pod["metadata"]
        if self._gone and not metadata.get("deletionTimestamp"):
            metadata = metadata | {"deletionTimestamp": "gone"}
        return self.allotted | {"status": status, "metadata": metadata}

    def _observed(self) -> Observed:
        runtime = self._node.runtime
        return Observed(
            containers=runtime.containers(self.uid),
            health={container_id: p.health for container_id, p in self._probers.items()},
            failures=self._failures,
            backoffs=self._backoffs,
            pod_ip=self._node.sandboxes.address(self.uid),
            runtime=runtime.name,
            ending=self._ending,
            allotment=self._resizer.allotment,
        )

    def _report(self, pod: Object, decision: Decision) -> None:
        now_s = self._node.seams.clock.wall()
        observed = self._observed()
        for name in decision.waiting:
            if name not in self._failures and observed.latest(name) is not None:
                self._event_once_back_off(pod, observed, name)
        self._status = pod_status.build(pod, observed, decision, now_s, self._node.ip)
        shown = self.mirror() if self.mirror is not None else self.pod
        if shown and not self._gone and not self._reclaimed:  # of what is removed no more is said
            self._node.statuses.set(shown, self._status)

    def _event_once_back_off(self, pod: Object, observed: Observed, name: str) -> None:
        old = {s["name"]: s for s in self._status.get("containerStatuses") or ()}
        state = (old.get(name) or {}).get("state") or {}
        if (state.get("waiting") or {}).get("reason") != "CrashLoopBackOff":
            metadata = pod["metadata"]
            who = f"{metadata['name']}_{metadata['namespace']}({self.uid})"
            text = f"Back-off restarting failed container {name} in pod {who}"
            self._event("Warning", "BackOff", text, name)

    def _event(self, type_: str, reason: str, message: str, container: str = "") -> None:
        path = pod_worker.field_path(self.pod, container) if container else ""
        subject = {"kind": "Pod", "apiVersion": "v1"} | self.pod
        self._node.events.event(subject, type_, reason, message, field_path=path)

    def _event_of(self, container: str) -> Callable[[str, str, str], None]:
        return lambda type_, reason, message: self._event(type_, reason, message, container)

    async def _start(self, pod: Object, action: Start) -> None:
        container = self._container(action.name)
        wanted_id = self._node.seams.randomness.randbytes(32).hex()
        try:
            container_id = await self._run_container(pod, container, action, wanted_id)
        except _NotYet:
            self._fail(action.name, "ContainerCreating", "", self._inputs.waited_in_vain())
        except ConfigError as error:
            self._failed(action.name, "CreateContainerConfigError", str(error))
        except ImageNotReady as error:
            self._fail(action.name, error.reason, error.message, error.retry_s)
            self.wake()
            return
        except (AddressesExhausted, SandboxFailure) as error:
            self._event("Warning", "FailedCreatePodSandBox", str(error))
            self._fail(action.name, "ContainerCreating", "")
        except RuntimeFailure as error:
            self._failed(action.name, error.reason, error.message)
        else:
            await self._after_start(container, container_id)
        if action.backoff is not None and self.containers(action.name):
            self._backoffs[action.name] = action.backoff
        await self._drop_old_attempts(action.name)
        self.wake()

    def _container(self, name: str) -> Object:
        return next(c for c in pod_worker.all_containers(self.allotted) if c["name"] == name)

    def _failed(self, name: str, reason: str, message: str) -> None:
        self._event("Warning", "Failed", f"Error: {message}", name)
        if not self.containers(name) or reason.startswith("Create"):
            self._fail(name, reason, message)

    def _fail(self, name: str, reason: str, message: str, delay_s: float | None = None) -> None:
        delay_s = self._node.limits.initial_s if delay_s is None else delay_s
        at_s = self._node.seams.clock.wall() + delay_s
        self._failures[name] = StartFailure(reason, message, at_s)

    async def _run_container(
        self, pod: Object, container: Object, action: Start, wanted_id: str
    ) -> str:
        """The id of what runs now."""
        node, name = self._node, action.name
        handler = await runtime_classes.handler(node.client, pod)
        shared = container_config.sandbox(pod, node.data_dir, handler, self._group(pod))
        ip = node.sandboxes.set_up(pod, await node.runtime.run_pod(shared))
        pod["status"] |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        pod["status"] |= {"hostIP": node.ip, "hostIPs": [{"ip": node.ip}]}
        if not await self._inputs.set_up_volumes(pod):
            raise _NotYet
        await self._find_image(container, action.attempt)
        objects = await self._inputs.fetch(environment.references(container))
        try:
            env = environment.build(
                pod,
                container,
                objects=objects,
                services=node.services(),
                allocatable=node.allocatable,
            )
        except ValueError as error:  # a field or quantity that the downward API lacks
            raise ConfigError(str(error)) from error
        spec = container_config.build(
            pod,
            container,
            attempt=action.attempt,
            container_id=wanted_id,
            env=env,
            mounts=self._inputs.mounts(pod, container, env, action.attempt),
            shared=shared,
            allocatable=node.allocatable,
            target_id=self._target_id(container),
        )
        self._event("Normal", "Created", f"Created container: {name}", name)
        self._resizer.first(self.pod)
        started = await node.runtime.run(spec)
        self._resizer.started(name)
        self._failures.pop(name, None)
        self._event("Normal", "Started", f"Started container {name}", name)
        if node.runtime.warning and not self._warned:
            self._warned = True
            self._event("Warning", "NoIsolation", node.runtime.warning)
        return started.container_id

    async def _find_image(self, container: Object, attempt: int) -> None:
        """Raises ImageNotReady; a pull that ends wakes this pod."""
        name = container["name"]

        def changed() -> None:
            self._failures.pop(name, None)
            self.wake()

        def secrets(names: Iterable[str]) -> Awaitable[Objects]:
            return self._inputs.fetch(("secrets", each) for each in names)

        if self._node.images is not None:
            request = Request.of(self.pod, container, attempt, secrets, changed)
            await self._node.images.ensure(request, self._event_of(name))

    def _group(self, pod: Object) -> str:
        """The pod's control group, made if need be; "" where the machine has none for us."""
        groups = self._node.groups
        try:
            return groups.set_up(pod) if groups is not None else ""
        except OSError as error:
            raise RuntimeFailure("CreateContainerError", f"control group: {error}") from error

    def _target_id(self, container: Object) -> str:
        """Of the container whose processes an ephemeral one is to see; "" for none."""
        name = container.get("targetContainerName")
        running = [c for c in self.containers(name) if c.running] if name else []
        if name and not running:
            raise RuntimeFailure("CreateContainerError", f"target container {name} is not running")
        return running[-1].container_id if running else ""

    async def _after_start(self, container: Object, container_id: str) -> None:
        name, ip = container["name"], self._node.sandboxes.address(self.uid)
        problem = ""
        if (container.get("lifecycle") or {}).get("postStart"):
            self._report(self._current(), Decision())
            handlers, stopping = self._node.handlers, self._stopping
            problem = await post_start.run(handlers, container, container_id, ip, stopping)
        if not problem:
            self._probe(container, container_id)
            return
        self._event("Warning", "FailedPostStartHook", problem, name)
        grace_s = pod_worker.grace_period_s(self.pod)
        self._kill(Kill(container_id, name, grace_s, f"FailedPostStartHook of container {name}"))

    def _probe(self, container: Object, container_id: str, *, was_ready: bool = False) -> None:
        name = container["name"]
        prober = ContainerProber(
            container,
            container_id,
            self._node.sandboxes.address(self.uid),
            self._node.handlers,
            self._node.seams,
            self.wake,
            lambda _kind, text: self._event("Warning", "Unhealthy", text, name),
            was_ready=was_ready,
        )
        self._probers[container_id] = prober
        prober.start()

    async def _adopt_running(self) -> None:
        """Probe what ran before this kubelet did; stop probing, and read out, what has ended."""
        running = {c.container_id: c for c in self._node.runtime.containers(self.uid) if c.running}
        for container_id in [i for i in self._probers if i not in running]:
            await self._probers.pop(container_id).stop()
        for container_id, container in running.items():
            if container_id not in self._probers and not self._killer.is_killing(container_id):
                was_ready = container_id in pod_status.ready_ids(self.pod)
                self._probe(self._container(container.name), container_id, was_ready=was_ready)
        self._read_messages()

    def _read_messages(self) -> None:
        for ended in self._node.runtime.containers(self.uid):
            if ended.running or ended.message:
                continue
            message = self._messages.read(self._container(ended.name), ended)
            if message:
                self._node.runtime.annotate(ended.container_id, message)

    def _kill(self, action: Kill) -> None:
        container = self._container(action.name)
        grace = 0.0 if self._gone else action.grace_s
        ip = self._node.sandboxes.address(self.uid)
        if self._killer.kill(action.container_id, container, ip, grace):
            self._event("Normal", "Killing", action.message, action.name)

    async def drop_old_attempts(self, keep: int) -> None:
        """Of every container: the node needs their room."""
        for container in pod_worker.all_containers(self.pod):
            await self._drop_old_attempts(container["name"], keep)

    async def _drop_old_attempts(self, name: str, keep: int = _KEPT_ATTEMPTS) -> None:
        for old in self.containers(name)[:-keep]:
            if old.running:
                continue
            await self._node.runtime.remove(old.container_id)
            for path in (old.log_path, self._messages.file(name, old.attempt)):
                if os.path.exists(path):
                    os.unlink(path)

    async def _finish(self, pod: Object) -> None:
        """Nothing runs any more. A pod that is to be deleted gives back what it holds, then goes.

        In this order (as upstream's kubelet has it), whoever saw the pod go finds nothing left.
        """
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp") is None:
            await self._node.volumes.tear_down(self.uid)
            return
        if not self._gone:
            await self._node.statuses.flush(self.uid)
        await self._reclaim()
        if not self._gone:
            await remove_now(self._node.client, pod)
        self._node.statuses.forget(self.uid)
        self._node.tokens.forget(self.uid)
        self._node.sandboxes.release(self.uid)  # its address is free once nobody names it
        self._released = True
        self._on_released(self.uid)

    async def _reclaim(self) -> None:
        self._reclaimed = True
        if self._node.images is not None:
            await self._node.images.forget(self.uid)
        await self._node.runtime.remove_pod(self.uid)
        if self._node.groups is not None:
            await asyncio.to_thread(self._node.groups.remove, self.uid)
        await self._node.volumes.tear_down(self.uid)
        data_dir = self._node.data_dir
        logs_of_pod = container_config.log_folder(data_dir, self.pod)
        for path in (os.path.join(data_dir, "pods", self.uid), logs_of_pod):
            await asyncio.to_thread(records.remove_tree, path)
