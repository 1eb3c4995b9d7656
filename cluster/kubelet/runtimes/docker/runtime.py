"""The runtime `docker`: containers by a Docker daemon over its Engine API.

A pod's namespaces are held by a container of its own; its network is the host's, where pods have
loopback addresses. Containers outlive the kubelet and are found again by their labels.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
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
from cluster.kubelet.runtimes.cri.messages import CONTAINER_NAME, POD_UID, owned
from cluster.kubelet.runtimes.docker import messages
from cluster.kubelet.runtimes.docker.engine import Engine, EngineError
from cluster.kubelet.runtimes.docker.images import DockerImages
from cluster.kubelet.runtimes.docker.log_copy import LogCopy
from cluster.kubelet.runtimes.docker.streaming import Taken
from cluster.kubelet.runtimes.images import PullFailed
from cluster.kubelet.runtimes.interactive import Running, Wanted

log = logging.getLogger(__name__)

Object = dict[str, Any]

SANDBOX_IMAGE = "registry.k8s.io/pause:3.10"
_LOOK_S, _RETRY_S = 5.0, 1.0
_STOP_MARGIN_S = 60.0
_NOT_RUN_CODE, _TIMED_OUT_CODE = 126, -1


class DockerRuntime:
    """See `base.Runtime`."""

    name, warning = "docker", ""

    def __init__(
        self,
        endpoint: str,
        data_dir: str,
        seams: Seams,
        *,
        sandbox_image: str = SANDBOX_IMAGE,
        log_size_bytes_max: int = 10 << 20,
        log_files_max: int = 5,
    ) -> None:
        self.version, self.problem = "", ""
        self._seams, self._sandbox_image = seams, sandbox_image
        self._owner = os.path.abspath(data_dir)
        self._engine = Engine(endpoint)
        self.images = DockerImages(self._engine, sandbox_image)
        self._logs = LogCopy(self._engine, log_size_bytes_max, log_files_max)
        self._copies: dict[str, asyncio.Task[None]] = {}
        self._known: dict[str, Container] = {}
        self._sandboxes: dict[str, str] = {}
        self._on_change: Callable[[str], None] = lambda _uid: None
        self._tasks: list[asyncio.Task[None]] = []

    # -- the runtime as a whole ------------------------------------------------------------------

    async def start(self, on_change: Callable[[str], None]) -> None:
        """Raises EngineError if the daemon does not answer."""
        self._on_change = on_change
        self.version = (await self._engine.call("GET", "/version"))["Version"]
        reap.record(self._owner, "docker", self._engine.path)
        for each in await self._list():
            pod_uid = each["Labels"][POD_UID]
            if each["Labels"][CONTAINER_NAME] == messages.SANDBOX:
                self._sandboxes[pod_uid] = each["Id"]
            elif each["State"] == "created":  # the kubelet ended before it was started
                await self._delete(each["Id"])
            else:
                await self._refresh(each["Id"])
        self._tasks = [
            asyncio.create_task(self._follow_events(), name="docker events"),
            asyncio.create_task(self._look(), name="docker containers"),
        ]

    async def stop(self) -> None:
        tasks = [*self._tasks, *self._copies.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _list(self, pod_uid: str = "") -> list[Object]:
        labels = [f"{key}={value}" for key, value in owned(self._owner, pod_uid).items()]
        query = {"all": "true", "filters": {"label": labels}}
        found: list[Object] = await self._engine.call("GET", "/containers/json", query)
        return found

    async def _follow_events(self) -> None:
        labels = [f"{key}={value}" for key, value in owned(self._owner).items()]
        filters = {"type": ["container"], "event": ["die"], "label": labels}
        while True:
            try:
                async with self._engine.open("GET", "/events", {"filters": filters}) as answer:
                    rest = b""
                    async for piece in answer.pieces():
                        *lines, rest = (rest + piece).split(b"\n")
                        for line in filter(None, lines):
                            await self._has_died(json.loads(line)["Actor"]["ID"])
            except EngineError as error:
                log.info("no events: %s", error)
            await self._seams.clock.sleep(_RETRY_S)

    async def _look(self) -> None:
        """What no event told of (the daemon was down, for instance), and how the daemon is."""
        while True:
            try:
                states = {each["Id"]: each["State"] for each in await self._list()}
                for container_id, container in list(self._known.items()):
                    if container.running and states.get(container_id) != "running":
                        await self._has_died(container_id)
                await self._end_with_sandboxes(states)
                self.problem = ""
            except EngineError as error:
                self.problem = f"container runtime is down: {error}"
            await self._seams.clock.sleep(_LOOK_S)

    async def _end_with_sandboxes(self, states: Mapping[str, str]) -> None:
        """What runs beside a sandbox that has died shares nothing with what is started next."""
        for container_id, container in list(self._known.items()):
            sandbox = self._sandboxes.get(container.pod_uid, "")
            if container.running and states.get(sandbox) != "running":
                await self._engine.call("POST", f"/containers/{container_id}/kill")

    async def _has_died(self, container_id: str) -> None:
        if container_id in self._known and self._known[container_id].running:
            await self._refresh(container_id)

    async def _refresh(self, container_id: str) -> Container:
        old = self._known.get(container_id)
        try:
            found = await self._engine.call("GET", f"/containers/{container_id}/json")
            new = messages.container(found)
            if container_id not in self._copies and (new.running or old is None):
                tty = bool(found["Config"]["Tty"])
                self._copies[container_id] = asyncio.create_task(self._copy(new, tty=tty))
            if not new.running and (copy := self._copies.pop(container_id, None)):
                await asyncio.wait([copy])  # its log is complete before anybody hears of its end
        except EngineError as error:
            if not error.is_unknown_id or old is None:
                raise
            lost = {"running": False, "exit_code": 137, "reason": "ContainerStatusUnknown"}
            new = replace(old, **lost, finished_at_s=self._seams.clock.wall())  # type: ignore[arg-type]
        if old is not None and old.message and not new.message:
            new = replace(new, message=old.message)
        self._known[container_id] = new
        if new != old:
            self._on_change(new.pod_uid)
        return new

    async def _copy(self, container: Container, *, tty: bool) -> None:
        while True:
            try:
                await self._logs.run(container.container_id, container.log_path, tty=tty)
                return
            except EngineError as error:
                if error.is_unknown_id:
                    return
                log.info("log of container %s: %s", container.container_id, error)
            await self._seams.clock.sleep(_RETRY_S)

    # -- what is known ---------------------------------------------------------------------------

    def containers(self, pod_uid: str) -> list[Container]:
        found = [c for c in self._known.values() if c.pod_uid == pod_uid]
        return sorted(found, key=lambda c: (c.attempt, c.started_at_s))

    def annotate(self, container_id: str, message: str) -> None:
        self._known[container_id] = replace(self._known[container_id], message=message)

    def pod_uids(self) -> list[str]:
        return list(self._sandboxes)

    # -- pods and containers ---------------------------------------------------------------------

    async def run_pod(self, sandbox: PodSandbox) -> str:
        try:
            if not await self._is_running(self._sandboxes.get(sandbox.uid, "")):
                await self._new_sandbox(sandbox)
        except (EngineError, PullFailed) as error:
            raise SandboxFailure(f"Failed to create pod sandbox: {error}") from error
        return ""

    async def _is_running(self, container_id: str) -> bool:
        if not container_id:
            return False
        try:
            found = await self._engine.call("GET", f"/containers/{container_id}/json")
        except EngineError as error:
            if error.is_unknown_id:
                return False
            raise
        return bool(found["State"]["Running"])

    async def _new_sandbox(self, sandbox: PodSandbox) -> None:
        for each in await self._list(sandbox.uid):  # also one that a call without an answer made
            if each["Labels"][CONTAINER_NAME] == messages.SANDBOX:
                await self._delete(each["Id"])
        image = await self.images.find(self._sandbox_image)
        image = image or await self.images.pull(self._sandbox_image, None)
        config = messages.sandbox_config(sandbox, self._owner, image.id)
        self._sandboxes[sandbox.uid] = await self._made(sandbox, messages.SANDBOX, 0, config)
        await self._engine.call("POST", f"/containers/{self._sandboxes[sandbox.uid]}/start")

    async def _made(self, sandbox: PodSandbox, name: str, attempt: int, config: Object) -> str:
        query = {"name": messages.name(sandbox, name, attempt)}
        try:
            answer = await self._engine.call("POST", "/containers/create", query, config)
        except EngineError as error:
            if error.status != 409:
                raise
            await self._delete(query["name"])  # of a call without an answer: the name is taken
            answer = await self._engine.call("POST", "/containers/create", query, config)
        return str(answer["Id"])

    async def run(self, spec: ContainerSpec) -> Container:
        sandbox = spec.sandbox or PodSandbox(spec.pod_uid)
        container_id = await self._create(spec, sandbox)
        os.makedirs(os.path.dirname(spec.log_path), mode=0o755, exist_ok=True)
        Path(spec.log_path).touch()  # also of who says nothing
        try:
            await self._engine.call("POST", f"/containers/{container_id}/start")
        except EngineError as error:
            await self._delete(container_id)
            raise RuntimeFailure("RunContainerError", error.message) from error
        return await self._refresh(container_id)

    async def _create(self, spec: ContainerSpec, sandbox: PodSandbox) -> str:
        try:
            image = await self.images.find(spec.image)
        except PullFailed as error:
            raise RuntimeFailure("CreateContainerError", str(error)) from error
        if image is None:  # it was pulled, if it had to be, before anybody asked for a container
            raise RuntimeFailure("CreateContainerError", f"image {spec.image} is not here")
        if spec.must_not_be_root and spec.uid is None and image.uid in (0, None):
            who = f"non-numeric user ({image.username})" if image.username else "root"
            text = f"container has runAsNonRoot and image will run as {who}"
            raise RuntimeFailure("CreateContainerConfigError", text)
        try:
            config = messages.container_config(spec, self._owner, self._sandboxes[spec.pod_uid])
            return await self._made(sandbox, spec.name, spec.attempt, config)
        except OSError as error:  # the daemon's, or of a seccomp profile that is not there
            raise RuntimeFailure("CreateContainerError", str(error)) from error

    async def end(self, container_id: str, grace_s: float) -> None:
        query = {"t": str(math.ceil(grace_s))}
        while (container := self._known.get(container_id)) is not None and container.running:
            try:
                await self._engine.call(
                    "POST",
                    f"/containers/{container_id}/stop" if grace_s > 0 else _kill(container_id),
                    query if grace_s > 0 else None,
                    timeout_s=grace_s + _STOP_MARGIN_S,
                )
            except EngineError as error:
                if error.status not in (404, 409):  # gone, or it does not run
                    log.warning("container %s does not end: %s", container_id, error)
                    await self._seams.clock.sleep(_RETRY_S)
                    continue
            await self._engine.call("POST", f"/containers/{container_id}/wait")
            await self._has_died(container_id)

    async def resize(self, container_id: str, wanted: Resources) -> None:
        limits = messages.limits(wanted)
        await self._engine.call("POST", f"/containers/{container_id}/update", None, limits)

    async def remove(self, container_id: str) -> None:
        await self._delete(container_id)
        self._known.pop(container_id, None)
        if copy := self._copies.pop(container_id, None):
            copy.cancel()

    async def remove_pod(self, pod_uid: str) -> None:
        for each in await self._list(pod_uid):
            await self._delete(each["Id"])
        for container in self.containers(pod_uid):
            await self.remove(container.container_id)
        self._sandboxes.pop(pod_uid, None)

    async def _delete(self, container_id: str) -> None:
        query = {"force": "true", "v": "true"}
        try:
            await self._engine.call("DELETE", f"/containers/{container_id}", query)
        except EngineError as error:
            if not error.is_unknown_id:
                raise

    # -- commands --------------------------------------------------------------------------------

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        timeout_s: float,
        output_size_bytes_max: int,
    ) -> ExecResult:
        output = bytearray()
        try:
            running = await self.open(container_id, command, Wanted(stdout=True, stderr=True))
        except RuntimeFailure as error:
            return ExecResult(_NOT_RUN_CODE, error.message.encode()[:output_size_bytes_max])

        async def read(source: Any) -> None:
            while data := await source.read():
                output.extend(data[: max(0, output_size_bytes_max - len(output))])

        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(read(running.stdout), read(running.stderr))
                return ExecResult(await running.wait(), bytes(output))
        except TimeoutError:
            return ExecResult(_TIMED_OUT_CODE, bytes(output), timed_out=True)
        finally:
            await running.close()

    async def open(self, container_id: str, command: Sequence[str], wanted: Wanted) -> Running:
        attached = {
            "AttachStdin": wanted.stdin,
            "AttachStdout": wanted.stdout,
            "AttachStderr": wanted.stderr and not wanted.tty,
            "Tty": wanted.tty,
        }
        try:
            where, body = f"/containers/{container_id}/exec", attached | {"Cmd": list(command)}
            exec_id = (await self._engine.call("POST", where, None, body))["Id"]
            started = {"Detach": False, "Tty": wanted.tty}
            streams = await self._engine.take_over(f"/exec/{exec_id}/start", None, started)
        except EngineError as error:
            raise RuntimeFailure("ExecFailed", error.message) from error

        async def ended() -> int:
            while (found := await self._engine.call("GET", f"/exec/{exec_id}/json"))["Running"]:
                await self._seams.clock.sleep(0.02)
            return int(found["ExitCode"] or 0)

        return Taken(*streams, wanted, self._resizer(f"/exec/{exec_id}/resize"), ended)

    async def attach(self, container_id: str, wanted: Wanted) -> Running:
        query = {"stream": "1", "stdin": int(wanted.stdin), "stdout": int(wanted.stdout)}
        query["stderr"] = int(wanted.stderr and not wanted.tty)
        try:
            where = f"/containers/{container_id}/attach"
            streams = await self._engine.take_over(where, query, None)
        except EngineError as error:
            raise RuntimeFailure("AttachFailed", error.message) from error

        async def ended() -> int:
            return 0

        return Taken(*streams, wanted, self._resizer(f"/containers/{container_id}/resize"), ended)

    def _resizer(self, where: str) -> Callable[[int, int], Any]:
        def resize(columns: int, rows: int) -> Any:
            return self._engine.call("POST", where, {"h": rows, "w": columns})

        return resize

    # -- usage -----------------------------------------------------------------------------------

    async def usage(self) -> Mapping[str, Usage]:
        running = [id_ for id_, container in self._known.items() if container.running]
        found = await asyncio.gather(*(self._usage(id_) for id_ in running))
        return {id_: each for id_, each in zip(running, found, strict=True) if each is not None}

    async def _usage(self, container_id: str) -> Usage | None:
        query = {"stream": "false", "one-shot": "true"}
        try:
            stats = await self._engine.call("GET", f"/containers/{container_id}/stats", query)
            return messages.usage(stats)
        except (EngineError, KeyError):  # it has ended meanwhile
            return None


def _kill(container_id: str) -> str:
    return f"/containers/{container_id}/kill"
