"""The Ray host: each actor is a detached, named Ray actor with a process of its own.

Ray places, starts, finds and ends processes; everything else goes over our own connections. The
shells here are thin on purpose. Ray's own restarts are off, but for the supervisor's: they have no
back-off, and a constructor that raises is never tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from actors import collector, control, discovery, overrides
from actors.component import ActorSpec, Health
from actors.errors import ActorError, ComponentFailed, HostUnavailable
from actors.group import ComponentGroup
from actors.placement import Machine
from actors.seams import system_seams
from actors.supervisor import Supervisor, with_settings

log = logging.getLogger(__name__)

SUPERVISOR = "supervisor"
LOG_SIZE_MAX_BYTES = 16 * 1024 * 1024


def log_to_file(path: str) -> None:
    """Send this process's log records to `path` (bounded, one older file kept)."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_SIZE_MAX_BYTES, backupCount=1, delay=False
    )
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03d %(levelname).1s %(name)s %(message)s", "%FT%T")
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(os.environ.get("RAYKUBE_LOG_LEVEL", "INFO"))


class ActorShell:
    """Runs the components of one spec inside a Ray actor. Its constructor never raises."""

    def __init__(self, spec: ActorSpec) -> None:
        self._spec = spec
        self._group: ComponentGroup | None = None
        self._starting: asyncio.Task[dict[str, Any]] | None = None
        self._end = asyncio.Event()

    async def pid(self) -> int:
        return os.getpid()

    async def start(self) -> dict[str, Any]:
        """Once only: a supervisor that was itself restarted finds the actor running."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> dict[str, Any]:
        if self._spec.log_file:
            log_to_file(self._spec.log_file)
        collector.calm()
        log.info("%s starts as process %d", self._spec.name, os.getpid())
        self._group = ComponentGroup(self._spec, system_seams())
        return await self._group.start()

    async def ended(self) -> None:
        """Held open for as long as the process lives: its failure is how a death is noticed."""
        await self._end.wait()

    async def health(self) -> Health:
        return await self._group.health() if self._group else Health(False, "starting")

    async def stop(self) -> None:
        if self._group:
            await self._group.stop()
        self._end.set()


class RayActor:
    """The supervisor's handle on one shell; Ray's errors become ours here."""

    def __init__(self, handle: Any, pid: int) -> None:
        self._handle = handle
        self.pid = pid

    async def start(self) -> Mapping[str, Any]:
        facts: Mapping[str, Any] = await _call(self._handle.start)
        return facts

    async def ended(self) -> str:
        try:
            await _call(self._handle.ended)
        except ActorError as error:
            return str(error)
        return "stopped"

    async def health(self) -> Health:
        health: Health = await _call(self._handle.health)
        return health

    async def stop(self) -> None:
        try:
            async with asyncio.timeout(25):
                await _call(self._handle.stop)
        except TimeoutError:
            log.warning("process %d did not stop in time: killing it", self.pid)
        finally:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL where the process is on this machine (as real faults come), then Ray's own."""
        if _is_ray_worker(self.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(RayError, ValueError):
            ray.kill(self._handle, no_restart=True)


async def _call(method: Any) -> Any:
    try:
        return await method.remote()
    except RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, ActorError):
            raise cause from error
        raise ComponentFailed(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


def _is_ray_worker(pid: int) -> bool:
    try:
        return b"ray::" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class RayHost:
    """Spawns detached named actors in one Ray namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._shell = ray.remote(ActorShell)

    async def spawn(self, spec: ActorSpec) -> RayActor:
        handle = self._shell.options(
            name=spec.name,
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=0,
            max_task_retries=0,
            label_selector=_selector(spec.host),
        ).remote(spec)
        return RayActor(handle, await _call(handle.pid))


def _selector(host: str) -> dict[str, str]:
    """`label=value`: a label, not a node id, since a machine comes back with another id."""
    key, _, value = host.partition("=")
    return {key: value} if value else {}


@dataclass(frozen=True)
class Plan:
    """Everything that a supervisor needs, also when Ray restarts it."""

    name: str
    folder: str
    actors: tuple[ActorSpec, ...]


class SupervisorShell:
    """The one actor that Ray restarts blindly; it finds the others again by name."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._server: asyncio.Server | None = None
        log_to_file(os.path.join(plan.folder, "logs", f"{SUPERVISOR}.log"))
        self._supervisor = Supervisor(
            RayHost(namespace(plan.name)),
            _overridden(plan),
            system_seams().clock,
            publish=self._publish,
        )
        self._task = asyncio.get_event_loop().create_task(self._run())

    async def ready(self) -> int:
        """Raises what `_run` raised; returns the supervisor's pid."""
        await asyncio.shield(self._task)
        return os.getpid()

    async def _run(self) -> None:
        self._server = await control.serve(self._plan.folder, self._answer)
        await self._supervisor.start()

    def _publish(self, picture: dict[str, Any]) -> None:
        own = {"kind": SUPERVISOR, "pid": os.getpid(), "phase": "running", "ready": True}
        with contextlib.suppress(FileNotFoundError):  # the folder goes first when a `down` ends
            discovery.publish(self._plan.folder, {SUPERVISOR: own, **picture})

    async def _answer(self, request: dict[str, Any]) -> Any:
        match request.get("verb"):
            case "picture":
                return self._supervisor.picture()
            case "kill":
                hold_s = float(request.get("hold_s", 0.0))
                return await self._supervisor.kill(str(request["name"]), hold_s=hold_s)
            case "configure":
                name, settings = str(request["name"]), dict(request["settings"])
                overrides.add(self._plan.folder, name, settings)
                await self._supervisor.configure(name, settings)
                return None
            case "stop":
                await self._supervisor.stop()
                asyncio.get_running_loop().call_later(0.1, _end_this_actor)
                return None
            case verb:
                raise ActorError(f"unknown request {verb!r}")


def _overridden(plan: Plan) -> tuple[ActorSpec, ...]:
    """What was changed since the cluster was made still counts."""
    changed = overrides.read(plan.folder)
    return tuple(with_settings(spec, changed.get(spec.name, {})) for spec in plan.actors)


def _end_this_actor() -> None:
    with contextlib.suppress(RayError, ValueError):
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


def namespace(cluster: str) -> str:
    return f"raykube-{cluster}"


def connect(address: str, cluster: str, node_address: str | None = None) -> None:
    """Join the Ray cluster at `address` (`auto` = the one running here) as a driver."""
    try:
        ray.init(
            address=address,
            namespace=namespace(cluster),
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
            _node_ip_address=node_address,
        )
    except (ConnectionError, RuntimeError, RayError, ValueError) as error:
        raise HostUnavailable(
            f"cannot join the Ray cluster at {address}: {_first_line(error)}\n"
            "  start one with `ray start --head`, or leave out --ray-address"
        ) from error


def disconnect() -> None:
    ray.shutdown()


def machines() -> list[Machine]:
    """The live machines of the Ray cluster that this process has joined."""
    return [
        Machine(
            node["NodeManagerAddress"],
            node["Labels"].get("host", ""),
            node["Labels"]["ray.io/node-id"],
            dict(node["Resources"]),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def own_machine(found: Sequence[Machine]) -> Machine:
    """The machine that this process runs on."""
    node_id = ray.get_runtime_context().get_node_id()
    return next(machine for machine in found if machine.node_id == node_id)


def end_namespace(cluster: str) -> None:
    """Kill every actor of a cluster whose supervisor cannot do it any more."""
    for entry in ray.util.list_named_actors(all_namespaces=True):
        if entry["namespace"] == namespace(cluster):
            with contextlib.suppress(RayError, ValueError):  # it ended meanwhile
                handle = ray.get_actor(entry["name"], namespace=entry["namespace"])
                ray.kill(handle, no_restart=True)


def launch(plan: Plan, host: str) -> None:
    """Create the supervisor, which creates everything else, and wait until it runs."""
    handle = (
        ray.remote(SupervisorShell)
        .options(
            name=SUPERVISOR,
            namespace=namespace(plan.name),
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            label_selector=_selector(host),
        )
        .remote(plan)
    )
    try:
        ray.get(handle.ready.remote(), timeout=60)
    except (RayError, TimeoutError) as error:
        raise HostUnavailable(f"the supervisor did not start: {_first_line(error)}") from error


def is_running(cluster: str) -> bool:
    """Whether a cluster of this name has a supervisor in the Ray cluster joined."""
    names: Sequence[dict[str, str]] = ray.util.list_named_actors(all_namespaces=True)
    return {"namespace": namespace(cluster), "name": SUPERVISOR} in names
