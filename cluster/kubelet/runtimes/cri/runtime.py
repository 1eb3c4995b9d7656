"""The runtime `cri`: containers by a container manager (containerd, CRI-O) over CRI v1.

It outlives the kubelet, and so do its containers: they are found again by their labels.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.seams import Seams
from cluster.kubelet.runtimes import reap
from cluster.kubelet.runtimes.base import (
    Container,
    ContainerSpec,
    ExecResult,
    PodSandbox,
    Resources,
    RuntimeFailure,
    SandboxFailure,
    Usage,
)
from cluster.kubelet.runtimes.cri import messages, streaming
from cluster.kubelet.runtimes.cri import protocol_pb2 as pb
from cluster.kubelet.runtimes.cri.client import SANDBOX_TIMEOUT_S, CriClient, CriError
from cluster.kubelet.runtimes.cri.images import CriImages
from cluster.kubelet.runtimes.cri.log_files import LogFiles
from cluster.kubelet.runtimes.images import Image, PullFailed
from cluster.kubelet.runtimes.interactive import Running, Wanted

log = logging.getLogger(__name__)

_LIST_S, _LIST_BESIDE_EVENTS_S = 0.25, 5.0
_LOGS_S, _CONDITION_S = 10.0, 5.0
_RETRY_S = 1.0
_STOP_MARGIN_S = 120.0
_EXEC_MARGIN_S = 2.0
_NOT_FOUND_CODE, _NOT_RUN_CODE, _TIMED_OUT_CODE = 127, 126, -1
_GONE = "the container manager does not know the container any more"


@dataclass(frozen=True)
class _Shared:
    """A sandbox that is there. `config` goes with each container that is made in it."""

    sandbox_id: str
    config: Any
    address: str
    attempt: int


class CriRuntime:
    """See `base.Runtime`. `on_host`: pods have the network of the host, not one of CNI's."""

    warning = ""

    def __init__(
        self,
        endpoint: str,
        data_dir: str,
        seams: Seams,
        *,
        on_host: bool = True,
        log_size_bytes_max: int = 10 << 20,
        log_files_max: int = 5,
    ) -> None:
        self.name, self.version = "cri", ""
        self._seams, self._on_host = seams, on_host
        self._owner = os.path.abspath(data_dir)
        self._client = CriClient(endpoint)
        self.images = CriImages(self._client)
        self._logs = LogFiles(log_size_bytes_max, log_files_max, self._reopen_log)
        self._known: dict[str, Container] = {}
        self._shared: dict[str, _Shared] = {}
        self._sandboxes: dict[str, set[str]] = defaultdict(set)
        self._on_change: Callable[[str], None] = lambda _uid: None
        self._tasks: list[asyncio.Task[None]] = []
        self._look = asyncio.Event()
        self._list_s = _LIST_S
        self.problem = ""
        """Why nothing can be started; "" if all is well."""

    # -- the runtime as a whole ------------------------------------------------------------------

    async def start(self, on_change: Callable[[str], None]) -> None:
        """Raises CriError if the container manager does not answer."""
        self._on_change = on_change
        version = await self._client.runtime("Version", pb.VersionRequest())
        self.name, self.version = version.runtime_name, version.runtime_version.lstrip("v")
        reap.record(self._owner, "cri", self._client.endpoint)
        self.images.pinned = await self._sandbox_image()
        await self._adopt_all()
        self._tasks = [
            asyncio.create_task(self._follow(), name="cri containers"),
            asyncio.create_task(self._follow_events(), name="cri events"),
            asyncio.create_task(self._rotate(), name="cri logs"),
            asyncio.create_task(self._watch_condition(), name="cri condition"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def _sandbox_image(self) -> str:
        """What sandboxes are made of is in the container manager's own config, if it tells it."""
        answer = await self._client.runtime("Status", pb.StatusRequest(verbose=True))
        with contextlib.suppress(ValueError):
            return str(json.loads(answer.info.get("config", "{}")).get("sandboxImage", ""))
        return ""

    async def _adopt_all(self) -> None:
        for sandbox in await self._list_sandboxes():
            self._sandboxes[sandbox.labels[messages.POD_UID]].add(sandbox.id)
        for each in await self._list_containers():
            if each.state == pb.CONTAINER_CREATED:  # the kubelet ended before it was started
                await self._client.runtime(
                    "RemoveContainer", pb.RemoveContainerRequest(container_id=each.id)
                )
            else:
                await self._refresh(each.id, each.labels[messages.POD_UID])

    async def _list_sandboxes(self, pod_uid: str = "") -> list[Any]:
        labels = messages.owned(self._owner, pod_uid)
        request = pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=labels))
        answer = await self._client.runtime("ListPodSandbox", request)
        return list(answer.items)

    async def _list_containers(self) -> list[Any]:
        labels = messages.owned(self._owner)
        request = pb.ListContainersRequest(filter=pb.ContainerFilter(label_selector=labels))
        answer = await self._client.runtime("ListContainers", request)
        return list(answer.containers)

    # -- what becomes of containers --------------------------------------------------------------

    async def _follow(self) -> None:
        """Look at all containers now and then: not every container manager tells of their ends."""
        while True:
            self._look.clear()
            try:
                await self._look_at_all()
            except CriError as error:
                log.info("the container manager at %s: %s", self._client.endpoint, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._list_s):
                    await self._look.wait()

    async def _watch_condition(self) -> None:
        while True:
            try:
                await self._end_with_sandboxes()
                self.problem = await self._condition()
            except CriError as error:
                self.problem = f"container runtime is down: {error}"
            await self._seams.clock.sleep(_CONDITION_S)

    async def _end_with_sandboxes(self) -> None:
        """What runs in a sandbox that has died shares nothing with the pod's next containers."""
        running = {c.pod_uid for c in self._known.values() if c.running}
        if not running:
            return
        for sandbox in await self._list_sandboxes():
            pod_uid = sandbox.labels[messages.POD_UID]
            current = self._shared.get(pod_uid)
            is_current = current is None or current.sandbox_id == sandbox.id
            if sandbox.state != pb.SANDBOX_READY and is_current and pod_uid in running:
                request = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox.id)
                await self._client.runtime("StopPodSandbox", request, SANDBOX_TIMEOUT_S)
                self._look.set()

    async def _condition(self) -> str:
        answer = await self._client.runtime("Status", pb.StatusRequest())
        needed = {"RuntimeReady"} if self._on_host else {"RuntimeReady", "NetworkReady"}
        wrong = [c for c in answer.status.conditions if c.type in needed and not c.status]
        return "; ".join(f"{c.type}: {c.message or c.reason}" for c in wrong)

    async def _look_at_all(self) -> None:
        running = {id_: c for id_, c in self._known.items() if c.running}
        if not running:
            return
        states = {each.id: each.state for each in await self._list_containers()}
        for container_id, container in running.items():
            if states.get(container_id) == pb.CONTAINER_RUNNING:
                continue
            if container_id in self._known:
                await self._refresh(container_id, container.pod_uid)

    async def _follow_events(self) -> None:
        while True:
            try:
                async for _ in self._client.events():
                    self._list_s = _LIST_BESIDE_EVENTS_S
                    self._look.set()
            except CriError as error:
                self._list_s = _LIST_S
                if not error.is_unreachable:
                    log.info("no events from the container manager: %s", error.message)
                    return
            await self._seams.clock.sleep(_RETRY_S)

    async def _refresh(self, container_id: str, pod_uid: str) -> Container:
        """Learn how it is, and tell of a change."""
        request = pb.ContainerStatusRequest(container_id=container_id)
        old = self._known.get(container_id)
        try:
            answer = await self._client.runtime("ContainerStatus", request)
            new = messages.container(answer.status, pod_uid)
        except CriError as error:
            if not error.is_unknown_id or old is None:
                raise
            new = _lost(old, self._seams.clock.wall())
        if old is not None and old.message and not new.message:
            new = replace(new, message=old.message)
        self._known[container_id] = new
        if new != old:
            self._on_change(pod_uid)
        return new

    async def _rotate(self) -> None:
        while True:
            await self._seams.clock.sleep(_LOGS_S)
            await self.rotate_logs()

    async def rotate_logs(self) -> None:
        """Those that are too large; once in 10 s that happens by itself."""
        for container_id, container in list(self._known.items()):
            if container.running:
                await self._logs.rotate(container_id, container.log_path)

    async def _reopen_log(self, container_id: str) -> None:
        request = pb.ReopenContainerLogRequest(container_id=container_id)
        await self._client.runtime("ReopenContainerLog", request)

    # -- what is known ---------------------------------------------------------------------------

    def containers(self, pod_uid: str) -> list[Container]:
        found = [c for c in self._known.values() if c.pod_uid == pod_uid]
        return sorted(found, key=lambda c: (c.attempt, c.started_at_s))

    def annotate(self, container_id: str, message: str) -> None:
        self._known[container_id] = replace(self._known[container_id], message=message)

    def pod_uids(self) -> list[str]:
        return [uid for uid, ids in self._sandboxes.items() if ids]

    # -- pods ------------------------------------------------------------------------------------

    async def run_pod(self, sandbox: PodSandbox) -> str:
        try:
            shared = await self._ready_sandbox(sandbox)
            if shared is None:
                shared = await self._new_sandbox(sandbox)
        except CriError as error:
            raise SandboxFailure(f"Failed to create pod sandbox: {error.message}") from error
        self._shared[sandbox.uid] = shared
        return shared.address

    async def _ready_sandbox(self, sandbox: PodSandbox) -> _Shared | None:
        """The newest one that stands; what a call without an answer has made is found here too."""
        known = self._shared.get(sandbox.uid)
        found = await self._list_sandboxes(sandbox.uid)
        self._sandboxes[sandbox.uid] |= {each.id for each in found}
        ready = [each for each in found if each.state == pb.SANDBOX_READY]
        if not ready:
            return None
        newest = max(ready, key=lambda each: int(each.created_at))
        if known is not None and known.sandbox_id == newest.id:
            return known
        return await self._shared_of(sandbox, newest.id, newest.metadata.attempt)

    async def _new_sandbox(self, sandbox: PodSandbox) -> _Shared:
        """In place of one that has ended: its containers end with it."""
        found = await self._list_sandboxes(sandbox.uid)
        for each in found:
            request = pb.StopPodSandboxRequest(pod_sandbox_id=each.id)
            await self._client.runtime("StopPodSandbox", request)
        attempt = 1 + max((each.metadata.attempt for each in found), default=-1)
        os.makedirs(sandbox.log_folder, mode=0o755, exist_ok=True)
        config = self._config(sandbox, attempt)
        made = pb.RunPodSandboxRequest(config=config, runtime_handler=sandbox.runtime_handler)
        answer = await self._client.runtime("RunPodSandbox", made, SANDBOX_TIMEOUT_S)
        self._sandboxes[sandbox.uid].add(answer.pod_sandbox_id)
        return await self._shared_of(sandbox, answer.pod_sandbox_id, attempt)

    def _config(self, sandbox: PodSandbox, attempt: int) -> Any:
        return messages.sandbox_config(sandbox, self._owner, attempt, on_host=self._on_host)

    async def _shared_of(self, sandbox: PodSandbox, sandbox_id: str, attempt: int) -> _Shared:
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        answer = await self._client.runtime("PodSandboxStatus", request)
        own = not (self._on_host or sandbox.host_network)
        address = answer.status.network.ip if own else ""
        return _Shared(sandbox_id, self._config(sandbox, attempt), address, attempt)

    async def remove_pod(self, pod_uid: str) -> None:
        for sandbox in await self._list_sandboxes(pod_uid):
            stop = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox.id)
            await self._client.runtime("StopPodSandbox", stop, SANDBOX_TIMEOUT_S)
            remove = pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id)
            await self._client.runtime("RemovePodSandbox", remove, SANDBOX_TIMEOUT_S)
        for container_id in [c.container_id for c in self.containers(pod_uid)]:
            del self._known[container_id]
        self._shared.pop(pod_uid, None)
        self._sandboxes.pop(pod_uid, None)

    # -- containers ------------------------------------------------------------------------------

    async def run(self, spec: ContainerSpec) -> Container:
        container_id = await self._create(spec)
        try:
            request = pb.StartContainerRequest(container_id=container_id)
            await self._client.runtime("StartContainer", request)
        except CriError as error:
            with contextlib.suppress(CriError):
                await self._refresh(container_id, spec.pod_uid)
            raise RuntimeFailure("RunContainerError", error.message) from error
        started = await self._refresh(container_id, spec.pod_uid)
        self._look.set()
        return started

    async def _create(self, spec: ContainerSpec) -> str:
        shared = self._shared[spec.pod_uid]
        image = await self._image(spec.image)
        if spec.must_not_be_root and spec.uid is None and image.uid in (0, None):
            who = f"non-numeric user ({image.username})" if image.username else "root"
            text = f"container has runAsNonRoot and image will run as {who}"
            raise RuntimeFailure("CreateContainerConfigError", text)
        os.makedirs(os.path.dirname(spec.log_path), mode=0o755, exist_ok=True)
        config = messages.container_config(spec, image, self._owner, on_host=self._on_host)
        request = pb.CreateContainerRequest(
            pod_sandbox_id=shared.sandbox_id, config=config, sandbox_config=shared.config
        )
        try:
            answer = await self._client.runtime("CreateContainer", request)
        except CriError as error:
            await self._drop_created(spec)
            raise RuntimeFailure("CreateContainerError", error.message) from error
        return str(answer.container_id)

    async def _image(self, reference: str) -> Image:
        """It was pulled, if it had to be, before anybody asked for a container of it."""
        try:
            found = await self.images.find(reference)
        except PullFailed as error:
            raise RuntimeFailure("CreateContainerError", str(error)) from error
        if found is None:
            raise RuntimeFailure("CreateContainerError", f"image {reference} is not here")
        return found

    async def _drop_created(self, spec: ContainerSpec) -> None:
        """What a call made of which no answer came: it would hold the name for ever."""
        with contextlib.suppress(CriError):
            for each in await self._list_containers():
                same = each.labels[messages.POD_UID] == spec.pod_uid
                same = same and each.metadata.name == spec.name
                if same and each.state == pb.CONTAINER_CREATED:
                    remove = pb.RemoveContainerRequest(container_id=each.id)
                    await self._client.runtime("RemoveContainer", remove)

    async def end(self, container_id: str, grace_s: float) -> None:
        request = pb.StopContainerRequest(container_id=container_id, timeout=math.ceil(grace_s))
        while True:
            container = self._known.get(container_id)
            if container is None or not container.running:
                return
            try:
                await self._client.runtime("StopContainer", request, grace_s + _STOP_MARGIN_S)
                await self._refresh(container_id, container.pod_uid)
            except CriError as error:
                if error.is_unknown_id:
                    await self._refresh(container_id, container.pod_uid)
                    return
                log.warning("container %s does not end: %s", container_id, error)
                await self._seams.clock.sleep(_RETRY_S)

    async def resize(self, container_id: str, wanted: Resources) -> None:
        request = pb.UpdateContainerResourcesRequest(
            container_id=container_id, linux=messages.linux_resources(wanted)
        )
        await self._client.runtime("UpdateContainerResources", request)

    async def remove(self, container_id: str) -> None:
        request = pb.RemoveContainerRequest(container_id=container_id)
        await self._client.runtime("RemoveContainer", request)
        self._known.pop(container_id, None)

    # -- commands --------------------------------------------------------------------------------

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        timeout_s: float,
        output_size_bytes_max: int,
    ) -> ExecResult:
        request = pb.ExecSyncRequest(
            container_id=container_id, cmd=command, timeout=math.ceil(timeout_s)
        )
        try:
            answer = await self._client.runtime("ExecSync", request, timeout_s + _EXEC_MARGIN_S)
        except CriError as error:
            if "deadline exceeded" in str(error).lower():
                return ExecResult(_TIMED_OUT_CODE, timed_out=True)
            missing = "not found" in error.message or "no such file" in error.message
            code = _NOT_FOUND_CODE if missing else _NOT_RUN_CODE
            return ExecResult(code, error.message.encode()[:output_size_bytes_max])
        output = answer.stdout + answer.stderr
        return ExecResult(answer.exit_code, output[:output_size_bytes_max])

    async def open(self, container_id: str, command: Sequence[str], wanted: Wanted) -> Running:
        request = pb.ExecRequest(
            container_id=container_id, cmd=command, **_streams(wanted), tty=wanted.tty
        )
        return await self._streaming("Exec", request, wanted)

    async def attach(self, container_id: str, wanted: Wanted) -> Running:
        request = pb.AttachRequest(container_id=container_id, **_streams(wanted), tty=wanted.tty)
        return await self._streaming("Attach", request, wanted)

    async def _streaming(self, call: str, request: Any, wanted: Wanted) -> Running:
        try:
            answer = await self._client.runtime(call, request)
        except CriError as error:
            raise RuntimeFailure("ExecFailed", error.message) from error
        return await streaming.command(self._seams.network, answer.url, wanted)

    # -- usage -----------------------------------------------------------------------------------

    async def usage(self) -> Mapping[str, Usage]:
        labels = messages.owned(self._owner)
        request = pb.ListContainerStatsRequest(
            filter=pb.ContainerStatsFilter(label_selector=labels)
        )
        answer = await self._client.runtime("ListContainerStats", request)
        running = {id_ for id_, container in self._known.items() if container.running}
        return {
            each.attributes.id: messages.usage(each)
            for each in answer.stats
            if each.attributes.id in running
        }


def _streams(wanted: Wanted) -> dict[str, bool]:
    """With a terminal there is no standard error of its own, and the container manager insists."""
    error = wanted.stderr and not wanted.tty
    return {"stdin": wanted.stdin, "stdout": wanted.stdout, "stderr": error}


def _lost(container: Container, now_s: float) -> Container:
    if not container.running:
        return container
    return replace(
        container,
        running=False,
        finished_at_s=now_s,
        exit_code=137,
        reason="ContainerStatusUnknown",
        message=_GONE,
    )
