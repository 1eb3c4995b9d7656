"""A lean Ray head: GCS and raylet only, for private clusters that use nothing else of Ray.

`ray start` calls `apply` through its RAY_START_HOOK. Left out are the dashboard process and the
raylet's two agents (runtime environments, job submission, metrics), whose imports are most of a
head's start-up time and memory: 5.4 s and 500 MB become 1.5 s and 160 MB. Workers are forks of a
process that has imported everything (`ray_zygote`). Ray has no switch for either, so this reaches
into private names; it holds for the Ray minor version that pyproject.toml pins, and
`RAYKUBE_RAY=full` leaves Ray as it is.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

STUB = Path(__file__).with_name("ray_agent_stub.sh")
ZYGOTE = Path(__file__).with_name("ray_zygote.py")
HOOK = f"{__name__}.apply"
AGENT_PORTS = {
    "--dashboard_agent_command=": (
        "metrics_agent_port=-1", "metrics_export_port=-1", "dashboard_agent_listen_port=-1",
    ),
    "--runtime_env_agent_command=": ("runtime_env_agent_port=1",),
}  # fmt: skip


def apply(ray_params: Any, _head: bool) -> None:
    """Called inside `ray start`, before any process is started."""
    from ray._private import node, services

    ray_params.worker_path = str(ZYGOTE)

    start_process = services.start_ray_process

    def start_lean(command: list[str], *args: Any, **kwargs: Any) -> Any:
        return start_process(lean_command(command), *args, **kwargs)

    node.Node.start_api_server = lambda *args, **kwargs: None
    services.start_ray_process = start_lean


def lean_command(command: list[str]) -> list[str]:
    """The raylet's command line, with stubs for its agents; any other command as it is."""
    return [_stubbed(argument) for argument in command]


def _stubbed(argument: str) -> str:
    for prefix, ports in AGENT_PORTS.items():
        if argument.startswith(prefix):
            stub = [str(STUB), _option("session-dir", argument), _option("node-id", argument)]
            return prefix + shlex.join([*stub, *ports])
    return argument


def _option(name: str, text: str) -> str:
    match = re.search(rf"--{name}=(\S+)", text)
    if match is None:
        raise ValueError(f"this version of Ray gives its agents no --{name}: {text}")
    return match[1]
