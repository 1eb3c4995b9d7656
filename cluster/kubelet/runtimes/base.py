"""The runtime interface: all that the kubelet knows about how containers run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class RuntimeFailure(Exception):
    """A container could not be created or started. `reason` is the status' waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host (`source`) at `target` in the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """What to run. `attempt` counts starts of this container in this pod from 0."""

    pod_uid: str
    name: str
    attempt: int
    container_id: str
    command: Sequence[str]
    env: Mapping[str, str]
    log_path: str
    hostname: str = ""
    working_dir: str = ""
    mounts: Sequence[Mount] = ()
    uid: int | None = None
    gid: int | None = None
    groups: Sequence[int] = ()
    read_only_root: bool = False
    no_new_privileges: bool = False
    stdin: bool = False
    stdin_once: bool = False
    """The first client that attached and left ends the input."""
    tty: bool = False
    target_id: str = ""
    """A running container of the same pod whose processes this one shares."""


@dataclass(frozen=True)
class Container:
    """What a runtime knows about one start of a container. Times are wall seconds."""

    pod_uid: str
    name: str
    attempt: int
    container_id: str
    log_path: str
    running: bool
    started_at_s: float = 0.0
    finished_at_s: float = 0.0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class ExecResult:
    exit_code: int
    output: bytes = b""
    timed_out: bool = field(default=False)


@dataclass(frozen=True)
class Usage:
    """What a container uses. `cpu_ns` is processor time since its start, faults are counted too."""

    cpu_ns: int = 0
    working_set_bytes: int = 0
    rss_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    processes: int = 0


class Runtime(Protocol):
    """Containers of one node. Each is found again after the kubelet's process was killed."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def warning(self) -> str:
        """What this runtime cannot do on this machine, for an event on each pod; or ""."""
        ...

    async def start(self, on_change: Callable[[str], None]) -> None:
        """Find what works here, adopt what runs; `on_change(pod uid)` when a container ends."""
        ...

    async def stop(self) -> None:
        """Forget the containers; they go on."""
        ...

    def containers(self, pod_uid: str) -> list[Container]:
        """All known starts of a pod's containers, oldest attempt first."""
        ...

    def annotate(self, container_id: str, message: str) -> None:
        """Attach the termination message of an ended container."""
        ...

    def pod_uids(self) -> list[str]: ...

    async def run(self, spec: ContainerSpec) -> Container:
        """Start it, and return when its program runs. Raises RuntimeFailure."""
        ...

    async def signal(self, container_id: str) -> None:
        """Ask it to end (SIGTERM to its first process)."""
        ...

    async def kill(self, container_id: str) -> None:
        """End it now (SIGKILL). Returns when it is gone."""
        ...

    async def wait(self, container_id: str, timeout_s: float) -> bool:
        """True once it has ended, False after `timeout_s`."""
        ...

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        timeout_s: float,
        output_size_bytes_max: int,
    ) -> ExecResult:
        """Run a command inside it; standard output and error together."""
        ...

    async def remove(self, container_id: str) -> None:
        """Drop the record and files of an ended container (not its log)."""
        ...

    async def remove_pod(self, pod_uid: str) -> None:
        """Drop what is left of a pod whose containers have all ended."""
        ...

    async def usage(self) -> Mapping[str, Usage]:
        """By id, of the containers that run."""
        ...
