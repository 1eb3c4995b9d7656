"""Ray workers as forks of one process that has imported everything already.

A Ray worker spends nearly a second of CPU on `import ray` and our own modules. In a private head
(`ray_lean`) the raylet runs this file in place of Ray's worker script. It asks the *zygote*, a
process that has the imports behind it and not one thread, to fork itself into the worker, and
ends; the worker then registers under its own pid as any worker does. The first launcher starts
the zygote. If anything about the zygote fails, the launcher becomes an ordinary worker by exec.

Forking is sound here because the zygote never runs ray, only imports it; it refuses to serve if a
thread exists after the imports. (Actors themselves must never fork: the child would keep their
raylet socket.)
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time

PRELOAD = "RAYKUBE_PRELOAD"
ROLE = "RAYKUBE_ZYGOTE_SOCKET"
START_TIMEOUT_S = 20.0
REQUEST_SIZE_MAX = 256 * 1024
CHECK_PERIOD_S = 2.0


def worker_script() -> str:
    """Ray's own worker script, found without importing ray."""
    spec = importlib.util.find_spec("ray")
    if spec is None or spec.origin is None:
        raise RuntimeError("ray is not installed")
    return os.path.join(os.path.dirname(spec.origin), "_private", "workers", "default_worker.py")


def launch(arguments: list[str]) -> None:
    """Have the zygote fork a worker with these arguments, or become one."""
    path = _socket_path(arguments)
    if path is not None:
        deadline = time.monotonic() + START_TIMEOUT_S
        started = False
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                _request(connection, arguments)
                return
            if not started:
                started = True
                _start_zygote(path)
            if os.path.exists(path + ".refused"):
                break
            time.sleep(0.01)
    os.execv(sys.executable, [sys.executable, worker_script(), *arguments])


def _socket_path(arguments: list[str]) -> str | None:
    """One zygote a raylet and job: Ray reads both from the environment while it is loaded."""
    for argument in arguments:
        if argument.startswith("--temp-dir=") and os.environ.get("RAY_JOB_ID"):
            folder = argument.partition("=")[2]
            raylet = os.environ.get("RAY_RAYLET_PID", "")
            return os.path.join(folder, f"zygote-{raylet}-{os.environ['RAY_JOB_ID'][:16]}")
    return None


def _request(connection: socket.socket, arguments: list[str]) -> None:
    body = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
    socket.send_fds(connection, [json.dumps(body).encode() + b"\n"], [0, 1, 2])
    if connection.recv(1) != b"+":
        raise ConnectionError("the zygote did not answer")


def _start_zygote(path: str) -> None:
    """At most one of several launchers wins the bind; the others' zygotes end at once."""
    subprocess.Popen(
        [sys.executable, os.path.abspath(__file__)],
        env={**os.environ, ROLE: path, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,  # the raylet kills its workers by group
    )


def serve(path: str) -> None:
    """Fork a worker for each request, for as long as the raylet lives."""
    lock = os.open(path + ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    if not _lock(lock):
        return
    for name in ["ray", *filter(None, os.environ.get(PRELOAD, "").split(","))]:
        importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        os.close(os.open(path + ".refused", os.O_CREAT, 0o600))
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the workers
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        raylet = f"/proc/{os.environ['RAY_RAYLET_PID']}"
        while os.path.exists(raylet):
            if select.select([listener], [], [], CHECK_PERIOD_S)[0]:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError, ValueError):
                    _fork(connection, listener, lock)


def _lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fork(connection: socket.socket, listener: socket.socket, lock: int) -> None:
    connection.settimeout(5.0)
    data, descriptors, _, _ = socket.recv_fds(connection, REQUEST_SIZE_MAX, 3)
    while not data.endswith(b"\n") and len(data) < REQUEST_SIZE_MAX:
        data += connection.recv(REQUEST_SIZE_MAX)
    request = json.loads(data)
    if os.fork() == 0:
        listener.close()
        os.close(lock)
        connection.send(b"+")
        connection.close()
        _become_worker(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def _become_worker(request: dict[str, object], descriptors: list[int]) -> None:
    """Take over what the launcher was given, and run Ray's worker script."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    os.chdir(str(request["folder"]))
    sys.argv = [worker_script(), *request["arguments"]]  # type: ignore[misc]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:  # nothing of the zygote may go on in this process
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    del sys.path[0]  # this folder, where `ray` is our own module
    if os.environ.get(ROLE):
        serve(os.environ.pop(ROLE))
    else:
        launch(sys.argv[1:])
