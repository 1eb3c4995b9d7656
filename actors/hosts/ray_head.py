"""A private Ray head for one cluster on this machine: started, recognised and ended by session.

Ray's daemons detach from `ray start`, but stay in its session, and inherit its environment. So
`end` finds exactly what `start` began: the processes of that session that carry our marker. It
never runs `ray stop`, which kills every Ray on the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from actors.errors import HostUnavailable
from actors.hosts import ray_lean, ray_zygote

MARKER = "RAYKUBE_CLUSTER_FOLDER"

# Ray runs workers at nice 15 and as the first victims of the OOM killer, and spends 15 % of a
# core on statistics that nobody here reads.
SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_worker_oom_score_adjustment": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_event_stats": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_DEDUP_LOGS": "0",
}


@dataclass(frozen=True)
class RayHead:
    """What identifies a head that we started. `session_id` is a POSIX session."""

    folder: str
    address: str
    session_id: int
    temp_folder: str


def client_environment(folder: str) -> dict[str, str]:
    """What a driver must have in its environment to join the head of the cluster in `folder`."""
    return SETTINGS | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(Path(folder) / "ray-token"),
        MARKER: folder,
    }


def start(
    folder: str, address: str, *, preload: Sequence[str] = (), timeout_s: float = 60.0
) -> RayHead:
    """Start a head at `address` (host:port), or raise HostUnavailable with what Ray said.

    Ray listens on the port on every interface, so no other head of this machine may have it; the
    token keeps strangers out. `preload` names the modules that every worker will need.
    """
    temp_folder = f"/tmp/raykube-{secrets.token_hex(4)}"  # Ray's sockets limit the path's length
    os.makedirs(temp_folder, mode=0o700)
    _write_token(folder)
    log_path = Path(folder) / "logs" / "ray-head.log"
    command = _command(address, temp_folder)
    with log_path.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **client_environment(folder), **_profile(preload)},
            cwd="/",
            start_new_session=True,
        )
        head = RayHead(folder, address, process.pid, temp_folder)
        save(head)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = -1
    if code != 0:
        end(head)
        said = log_path.read_text(errors="replace")[-800:]
        raise HostUnavailable(
            f"Ray did not start (exit code {code}); {log_path} ends with:\n{said}"
        )
    return head


def _command(address: str, temp_folder: str) -> list[str]:
    host, _, port = address.rpartition(":")
    cores = os.cpu_count() or 1
    return [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head",
        f"--port={port}", f"--node-ip-address={host}",
        "--include-dashboard=false", "--no-monitor", "--include-log-monitor=false",
        "--disable-usage-stats", f"--num-cpus={max(2, cores)}",
        "--object-store-memory=80000000", f"--temp-dir={temp_folder}", "--labels=host=local",
    ]  # fmt: skip


def _profile(preload: Sequence[str]) -> dict[str, str]:
    if os.environ.get("RAYKUBE_RAY") == "full":
        return {}
    return {"RAY_START_HOOK": ray_lean.HOOK, ray_zygote.PRELOAD: ",".join(preload)}


def _write_token(folder: str) -> None:
    path = Path(folder) / "ray-token"
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))


def save(head: RayHead) -> None:
    (Path(head.folder) / "ray.json").write_text(json.dumps(asdict(head)))


def load(folder: str) -> RayHead | None:
    """The head that `start` recorded in this folder, running or not."""
    try:
        return RayHead(**json.loads((Path(folder) / "ray.json").read_text()))
    except FileNotFoundError:
        return None


def end(head: RayHead, *, timeout_s: float = 10.0) -> None:
    """Kill every process of the head's session, wait until they are gone, remove its files."""
    deadline = time.monotonic() + timeout_s
    while pids := processes(head):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise HostUnavailable(f"processes of the Ray head would not end: {pids}")
        time.sleep(0.02)
    shutil.rmtree(head.temp_folder, ignore_errors=True)
    (Path(head.folder) / "ray.json").unlink(missing_ok=True)


def processes(head: RayHead) -> list[int]:
    """Pids of the session that carry this cluster's marker (a session number can be used again)."""
    marker = f"{MARKER}={head.folder}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and _session(name) == head.session_id and marker in _environment(name):
            found.append(int(name))
    return found


def _session(pid: str) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    state, _parent, _group, session = stat.rpartition(")")[2].split()[:4]
    return -1 if state == "Z" else int(session)


def _environment(pid: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
