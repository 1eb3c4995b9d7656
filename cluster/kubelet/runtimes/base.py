"""The runtime interface: all that the kubelet knows about how containers run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from cluster.kubelet.runtimes.images import ImageService


class RuntimeFailure(Exception):
    """A container could not be created or started. `reason` is the status' waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class SandboxFailure(Exception):
    """What the containers of a pod share could not be made; it is tried again."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host (`source`) at `target` in the container."""

    source: str
    target: str
    read_only: bool = False
    propagation: str = "None"
    """Of mounts that are made later: None, HostToContainer, Bidirectional. Container managers do
    as it says; the process runtime gives each container what was there when it began."""
    is_device: bool = False
    """Whether the source is a block device that the container may use."""


@dataclass(frozen=True)
class PodSandbox:
    """What the containers of a pod share. Their logs are at `log_folder`/NAME/ATTEMPT.log."""

    uid: str
    name: str = ""
    namespace: str = "default"
    hostname: str = ""
    log_folder: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    runtime_handler: str = ""
    """Of the pod's RuntimeClass; "" is the runtime's default."""
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_processes: bool = False
    privileged: bool = False
    """Whether any container of the pod is."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    """The pod's control group, as a path in the node's tree; "" where there is none."""


@dataclass(frozen=True)
class Resources:
    """What the kernel is to give and to enforce. 0: nothing asked for, or no limit."""

    cpu_request_milli: int = 0
    cpu_limit_milli: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0


@dataclass(frozen=True)
class Seccomp:
    """`kind` as in the API: RuntimeDefault, Unconfined or Localhost (then a `path`)."""

    kind: str = "Unconfined"
    path: str = ""


@dataclass(frozen=True)
class ContainerSpec:
    """What to run. `attempt` counts starts of this container in this pod from 0.

    `command` stands for the image's entry point and `args` for its arguments, where given.
    """

    pod_uid: str
    name: str
    attempt: int
    container_id: str
    command: Sequence[str]
    env: Mapping[str, str]
    log_path: str
    args: Sequence[str] = ()
    image: str = ""
    """As the pod names it."""
    sandbox: PodSandbox | None = None
    """None: the container stands alone."""
    hostname: str = ""
    working_dir: str = ""
    mounts: Sequence[Mount] = ()
    uid: int | None = None
    gid: int | None = None
    groups: Sequence[int] = ()
    must_not_be_root: bool = False
    """Also if it is the image that names the user."""
    read_only_root: bool = False
    no_new_privileges: bool = False
    privileged: bool = False
    add_capabilities: Sequence[str] = ()
    drop_capabilities: Sequence[str] = ()
    seccomp: Seccomp = Seccomp()
    resources: Resources = Resources()
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
    image_id: str = ""
    """What the status tells as imageID; "" where the runtime has no images."""


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
    def problem(self) -> str:
        """Why nothing can be started now, for the node's Ready condition; or ""."""
        ...

    @property
    def warning(self) -> str:
        """What this runtime cannot do on this machine, for an event on each pod; or ""."""
        ...

    @property
    def images(self) -> ImageService | None:
        """None: containers run on the host's own files, whatever image a pod names."""
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

    async def run_pod(self, sandbox: PodSandbox) -> str:
        """Make what the pod's containers share, unless it is there, and return its address.

        "": the runtime gives pods no address, the kubelet does. Raises SandboxFailure.
        """
        ...

    async def run(self, spec: ContainerSpec) -> Container:
        """Start it, and return when its program runs. Raises RuntimeFailure.

        The runtime may know it by another id than the one of `spec`: that of the answer counts.
        """
        ...

    async def end(self, container_id: str, grace_s: float) -> None:
        """SIGTERM to its first process, SIGKILL after `grace_s`. Returns when it is gone.

        Called again meanwhile (the first call may be cancelled), the shorter grace counts.
        """
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


@runtime_checkable
class Resizable(Protocol):
    """A runtime that can change the limits of a container that runs."""

    async def resize(self, container_id: str, wanted: Resources) -> None:
        """Raises OSError if the kernel refuses (memory that is in use, for instance)."""
        ...
