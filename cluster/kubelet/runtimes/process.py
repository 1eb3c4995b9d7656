"""The process runtime: every container is a real process tree on this machine.

With root a container has its own pid, mount and host-name namespaces and an overlay over the
host's root file system. Elsewhere ("plain") it has its own session, folder and environment, and
finds its volumes under `$RAYKUBE_MOUNTS`. Where the machine has control groups for us, a container
is in one of its own and has its limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cluster.kubelet.cgroups.resources import container_limits
from cluster.kubelet.cgroups.tree import Tree
from cluster.kubelet.images.local import LocalImages, Prepared
from cluster.kubelet.runtimes import (
    commands,
    image_process,
    isolation,
    launching,
    process_usage,
    records,
)
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
from cluster.kubelet.runtimes.helpers import become, capabilities
from cluster.kubelet.runtimes.helpers.shim import KILL_NOW, write_json
from cluster.kubelet.runtimes.host_mounts import extra_mounts
from cluster.kubelet.runtimes.images import ImageService, PullFailed
from cluster.kubelet.runtimes.interactive import Running, Wanted
from cluster.kubelet.runtimes.launcher import TIMEOUT_S, Launcher
from cluster.kubelet.runtimes.session_helpers import SessionHelpers

_KILL_TIMEOUT_S = 2.0
_TIMED_OUT_CODE = -1
HOLDER = ".pod"
"""Named as no container can be: the first process of a pod that shares its process namespace."""


class ProcessRuntime:
    """See `base.Runtime`. `isolation` is found out at start: "root" or "plain"."""

    name = "process"
    version = "0.1.0"
    problem = ""

    def __init__(
        self,
        data_dir: str,
        *,
        log_size_bytes_max: int = 10 << 20,
        log_files_max: int = 5,
        groups: Tree | None = None,
        images: LocalImages | None = None,
    ) -> None:
        self._images = images
        self._locks: dict[str, int] = {}
        self._groups = groups
        self._group_of: dict[str, str] = {}
        self.data_dir = os.path.abspath(data_dir)
        self.isolation = "plain"
        self._own_users = False
        """Whether containers with images can have a user namespace where there is no root."""
        self._log_limits = (log_size_bytes_max, log_files_max)
        self._host_mounts: list[str] = []
        self._folders: dict[str, str] = {}
        self._known: dict[str, Container] = {}
        self._by_pod: dict[str, list[str]] = defaultdict(list)
        self._ended: dict[str, asyncio.Event] = {}
        self._watched: dict[str, int] = {}
        self._on_change: Callable[[str], None] = lambda _uid: None
        self._helpers = SessionHelpers(launching.session)
        self._launcher = Launcher(self._spawn_launcher)
        self._holders: dict[str, str] = {}

    @property
    def images(self) -> ImageService | None:
        return self._images

    @property
    def warning(self) -> str:
        return isolation.warning(self.isolation, own_users=self._own_users)

    async def start(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        os.makedirs(os.path.join(self.data_dir, "pods"), mode=0o755, exist_ok=True)
        self._host_mounts = extra_mounts(self.data_dir)
        if os.geteuid() == 0 and await self._works("root"):
            self.isolation = "root"
        elif self._images is not None:
            self._own_users = await self._works("user")
        for folder in records.folders(self.data_dir):
            container = records.load(folder)
            if container is not None:
                self._adopt(container, folder)
                if container.name == HOLDER and container.running:
                    self._holders[container.pod_uid] = container.container_id
        for uid in list(self._holders):
            self._end_holder_if_alone(uid)

    async def _works(self, kind: str) -> bool:
        """Run a real container rather than guess from versions and user ids.

        For "user" on an empty image: it works if all that is missing is the program.
        """
        folder = os.path.join(self.data_dir, f"probe-{uuid.uuid4().hex}")
        spec = ContainerSpec("probe", "probe", 0, "probe", ["true"], dict(os.environ), "")
        empty = os.path.join(folder, "root")
        os.makedirs(empty)
        try:
            record = self._record(spec, kind) | {"log": os.path.join(folder, "log")}
            record |= {"root": empty} if kind == "user" else {}
            write_json(os.path.join(folder, "spec.json"), record)
            error = await self._launch(folder)
            await self._gone(folder, TIMEOUT_S)
            if kind == "user":
                return become.NOT_FOUND in error
            ended = records.read_json(folder, "exit.json")
            return bool(not error and ended and ended["exit_code"] == 0)
        finally:
            records.remove_tree(folder)

    async def stop(self) -> None:
        for container_id in list(self._watched):
            self._unwatch(container_id)
        for container_id in list(self._locks):
            self._release_image(container_id)
        await self._helpers.close()
        await self._launcher.close()

    def containers(self, pod_uid: str) -> list[Container]:
        return [found for found in self._all(pod_uid) if found.name != HOLDER]

    def _all(self, pod_uid: str) -> list[Container]:
        """With what holds the pod's processes together."""
        return [self._known[container_id] for container_id in self._by_pod.get(pod_uid, ())]

    def annotate(self, container_id: str, message: str) -> None:
        self._known[container_id] = replace(self._known[container_id], message=message)

    def pod_uids(self) -> list[str]:
        return [uid for uid, ids in self._by_pod.items() if ids]

    async def run_pod(self, sandbox: PodSandbox) -> str:
        """A process namespace, if the pod wants one: its first process outlives the containers'.

        The address is the kubelet's matter. Other namespaces are those of whichever container runs.
        """
        if sandbox.runtime_handler not in ("", self.name):
            text = f'no runtime for "{sandbox.runtime_handler}" is configured'
            raise SandboxFailure(f"Failed to create pod sandbox: {text}")
        shares = sandbox.share_processes and self.isolation == "root" and not sandbox.host_pid
        if shares and sandbox.uid not in self._holders:
            await self._hold(sandbox)
        return ""

    async def _hold(self, sandbox: PodSandbox) -> None:
        old = [each for each in self._all(sandbox.uid) if each.name == HOLDER]
        for each in old:
            if not each.running:
                await self.remove(each.container_id)
        attempt = 1 + max((each.attempt for each in old), default=-1)
        folder = records.folder_of(self.data_dir, sandbox.uid, HOLDER, attempt)
        spec = ContainerSpec(
            pod_uid=sandbox.uid,
            name=HOLDER,
            attempt=attempt,
            container_id=uuid.uuid4().hex,
            command=["sleep", "infinity"],
            env={},
            log_path=os.path.join(folder, "log"),
            sandbox=sandbox,
            hostname=sandbox.hostname,
        )
        try:
            await self.run(spec)
        except RuntimeFailure as error:
            raise SandboxFailure(f"the pod's process namespace: {error.message}") from error
        self._holders[sandbox.uid] = spec.container_id

    def _end_holder_if_alone(self, pod_uid: str) -> None:
        others = [each for each in self._all(pod_uid) if each.name != HOLDER and each.running]
        if not others and (holder := self._holders.pop(pod_uid, "")):
            self._send(holder, KILL_NOW)

    def _neighbour(self, pod_uid: str) -> str:
        """The folder of a container of the pod that runs, or ""."""
        running = [each for each in self._all(pod_uid) if each.running]
        return self._folders[running[0].container_id] if running else ""

    async def run(self, spec: ContainerSpec) -> Container:
        isolation.refuse_what_is_not_there(spec)
        image = await self._prepare(spec)
        try:
            return await self._run(spec, image)
        finally:
            if image is not None:
                os.close(image.lock)

    async def _prepare(self, spec: ContainerSpec) -> Prepared | None:
        """What it is to run on; None for the host's files."""
        if self._images is None or not (self.isolation == "root" or self._own_users):
            return None
        try:
            return await self._images.prepare(spec.image)
        except PullFailed as error:
            raise RuntimeFailure("CreateContainerError", str(error)) from None

    def _isolation_for(self, spec: ContainerSpec, image: Prepared | None) -> str:
        """Raises RuntimeFailure for users that this node cannot give."""
        if image is not None and self.isolation == "plain":
            return "user"
        if (spec.uid is not None or spec.gid is not None) and os.geteuid() != 0:
            raise RuntimeFailure(
                "CreateContainerConfigError",
                f"container {spec.name}: runAsUser and runAsGroup need a node run by root",
            )
        return self.isolation

    async def _run(self, spec: ContainerSpec, image: Prepared | None) -> Container:
        folder = records.folder_of(self.data_dir, spec.pod_uid, spec.name, spec.attempt)
        kind = self._isolation_for(spec, image)
        record = self._record(spec, kind, folder, image)
        records.remove_tree(folder)
        os.makedirs(folder, mode=0o755)
        os.makedirs(os.path.dirname(spec.log_path), mode=0o755, exist_ok=True)
        if kind == "plain":
            os.makedirs(os.path.join(folder, "cwd"), mode=0o755)
        write_json(os.path.join(folder, "spec.json"), record | self._make_group(spec))
        error = await self._launch(folder)
        return await self._started(folder, error)

    def _make_group(self, spec: ContainerSpec) -> dict[str, Any]:
        """Its control group, as the part of the record that the helpers want."""
        parent = spec.sandbox.cgroup_parent if spec.sandbox else ""
        if self._groups is None or not parent:
            return {}
        path = f"{parent}/{spec.container_id}"
        try:
            self._groups.create(path, container_limits(spec.resources))
        except OSError as error:
            raise RuntimeFailure("CreateContainerError", f"control group: {error}") from None
        members, kills = self._groups.members_files(path), self._groups.kills_file(path)
        return {"cgroup": {"path": path, "members": members, "kills": kills}}

    async def resize(self, container_id: str, wanted: Resources) -> None:
        path = self._group_of.get(container_id)
        if self._groups is None or not path:
            return
        limit, usage = wanted.memory_limit_bytes, self._groups.usage(path)
        if limit and usage is not None and usage.working_set_bytes > limit:
            used = usage.working_set_bytes
            raise OSError(errno.EBUSY, f"memory in use ({used}) is more than the limit ({limit})")
        self._groups.limit(path, container_limits(wanted))

    async def _started(self, folder: str, error: str) -> Container:
        if error and (ended := records.read_json(folder, "exit.json")) is not None:
            ended |= {"reason": "StartError", "message": error}
            write_json(os.path.join(folder, "exit.json"), ended)
        container = records.load(folder)
        if container is not None:
            self._adopt(container, folder)
        if error or container is None:
            raise RuntimeFailure("RunContainerError", error or "the container did not start")
        return container

    def _record(
        self, spec: ContainerSpec, kind: str, folder: str = "", image: Prepared | None = None
    ) -> dict[str, Any]:
        sandbox = spec.sandbox or PodSandbox(spec.pod_uid)
        record = image_process.of(spec, image)
        if kind == "plain":
            record["env"]["RAYKUBE_MOUNTS"] = os.path.join(folder, "mounts")
        return record | {
            "pod_uid": spec.pod_uid,
            "name": spec.name,
            "attempt": spec.attempt,
            "id": spec.container_id,
            "privileged": spec.privileged,
            "uid": spec.uid,
            "gid": spec.gid,
            "groups": list(spec.groups),
            "hostname": spec.hostname,
            "isolation": kind,
            "mounts": [dict(mount.__dict__) for mount in spec.mounts],
            "host_mounts": self._host_mounts,
            "stdin": spec.stdin,
            "stdin_once": spec.stdin_once,
            "tty": spec.tty,
            "join": self._folders.get(spec.target_id or self._holders.get(spec.pod_uid, ""), ""),
            "read_only_root": spec.read_only_root,
            "oom_score_adj": spec.resources.oom_score_adj,
            "capabilities": sorted(_capabilities(spec)),
            "seccomp": spec.seccomp.kind,
            "host_pid": sandbox.host_pid,
            "host_ipc": sandbox.host_ipc,
            "ipc_of": self._neighbour(spec.pod_uid),
            "sysctls": dict(sandbox.sysctls),
            "no_new_privileges": spec.no_new_privileges,
            "log": spec.log_path,
            "log_size_bytes_max": self._log_limits[0],
            "log_files_max": self._log_limits[1],
        }

    async def _spawn_launcher(self, control: int) -> asyncio.subprocess.Process:
        return await launching.launcher(control, os.path.join(self.data_dir, "pods"))

    async def _launch(self, folder: str) -> str:
        """Returns "" or why the program could not be started."""
        error = await self._launcher.launch(folder)
        if error:
            await self._gone(folder)
        return error

    async def _gone(self, folder: str, timeout_s: float = _KILL_TIMEOUT_S) -> None:
        """The shim ends right after its report: this only waits for the record of the end."""
        process = records.process_of(folder)
        for _ in range(int(timeout_s / 0.005)):
            if process is None or not process.is_alive():
                return
            await asyncio.sleep(0.005)

    def _adopt(self, container: Container, folder: str) -> None:
        container_id = container.container_id
        if container_id not in self._known:
            self._by_pod[container.pod_uid].append(container_id)
        self._known[container_id] = container
        self._folders[container_id] = folder
        self._keep_image(container_id, folder)
        if path := records.group_of(folder):
            self._group_of[container_id] = path
        self._ended[container_id] = asyncio.Event()
        if container.running:
            self._watch(container_id, folder)
        else:
            self._ended[container_id].set()

    def _keep_image(self, container_id: str, folder: str) -> None:
        """An ended container's too, since it may be started again: see `images.roots`."""
        path = (records.read_json(folder, "spec.json") or {}).get("image_lock")
        if path and container_id not in self._locks:
            with contextlib.suppress(OSError):
                lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self._locks[container_id] = lock

    def _release_image(self, container_id: str) -> None:
        if (lock := self._locks.pop(container_id, None)) is not None:
            os.close(lock)

    def _watch(self, container_id: str, folder: str) -> None:
        """A pid file descriptor is readable when the shim has ended: no polling."""
        process = records.process_of(folder)
        assert process is not None
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self._on_end(container_id)
            return
        self._watched[container_id] = descriptor
        if not process.is_alive():  # checked after opening, so the pid cannot be another's
            self._on_end(container_id)
            return
        asyncio.get_running_loop().add_reader(descriptor, self._on_end, container_id)

    def _unwatch(self, container_id: str) -> None:
        descriptor = self._watched.pop(container_id, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

    def _on_end(self, container_id: str) -> None:
        self._unwatch(container_id)
        container = records.load(self._folders[container_id])
        if container is not None:
            self._known[container_id] = container
        self._ended[container_id].set()
        pod_uid = self._known[container_id].pod_uid
        self._end_holder_if_alone(pod_uid)
        self._on_change(pod_uid)

    async def end(self, container_id: str, grace_s: float) -> None:
        if grace_s > 0:
            await self.signal(container_id)
            await self.wait(container_id, grace_s)
        await self.kill(container_id)

    async def signal(self, container_id: str) -> None:
        self._send(container_id, signal.SIGTERM)

    async def kill(self, container_id: str) -> None:
        self._send(container_id, KILL_NOW)
        if not await self.wait(container_id, _KILL_TIMEOUT_S):
            self._send(container_id, signal.SIGKILL)
            await self.wait(container_id, _KILL_TIMEOUT_S)

    def _send(self, container_id: str, number: int) -> None:
        """Through the pid descriptor, which names the process for certain."""
        descriptor = self._watched.get(container_id)
        if descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)

    async def wait(self, container_id: str, timeout_s: float) -> bool:
        ended = self._ended.get(container_id)
        if ended is None:
            return True
        try:
            await asyncio.wait_for(ended.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        timeout_s: float,
        output_size_bytes_max: int,
    ) -> ExecResult:
        process = await launching.entering(self._folders[container_id], *command)
        output = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                assert process.stdout is not None
                while part := await process.stdout.read(65536):
                    output += part[: max(0, output_size_bytes_max - len(output))]
                code = await process.wait()
        except TimeoutError:
            return ExecResult(_TIMED_OUT_CODE, bytes(output), timed_out=True)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return ExecResult(code, bytes(output))

    async def open(self, container_id: str, command: Sequence[str], wanted: Wanted) -> Running:
        return await commands.start(self._helpers, self._folder(container_id), command, wanted)

    async def attach(self, container_id: str, wanted: Wanted) -> Running:
        return commands.attach(self._folder(container_id), wanted)

    def _folder(self, container_id: str) -> str:
        """Of a container that runs."""
        container = self._known.get(container_id)
        if container is None or not container.running:
            raise RuntimeFailure("NotRunning", "the container is not running")
        return self._folders[container_id]

    async def remove(self, container_id: str) -> None:
        container = self._known.pop(container_id)
        self._by_pod[container.pod_uid].remove(container_id)
        self._ended.pop(container_id)
        self._release_image(container_id)
        self._remove_group(self._group_of.pop(container_id, ""))
        await asyncio.to_thread(records.remove_tree, self._folders.pop(container_id))

    def _remove_group(self, path: str) -> None:
        """A process that entered it and is still there keeps it: it goes with the pod's."""
        if self._groups is not None and path:
            with contextlib.suppress(OSError):
                self._groups.remove(path)

    async def remove_pod(self, pod_uid: str) -> None:
        for container_id in list(self._by_pod.get(pod_uid, ())):
            if self._known[container_id].running:  # what held the pod together
                await self.kill(container_id)
            await self.remove(container_id)
        self._by_pod.pop(pod_uid, None)

    async def usage(self) -> dict[str, Usage]:
        running = [id_ for id_, container in self._known.items() if container.running]
        found = process_usage.of_groups(self._groups, self._group_of, running)
        folders = {id_: self._folders[id_] for id_ in running if id_ not in found}
        return found | await asyncio.to_thread(process_usage.of_folders, folders)


def _capabilities(spec: ContainerSpec) -> frozenset[str]:
    add, drop = spec.add_capabilities, spec.drop_capabilities
    return capabilities.kept(add, drop, privileged=spec.privileged)
