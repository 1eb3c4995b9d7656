"""Run a command inside a container that is running: `main(folder, command)`.

Exits with the command's code (128 + signal number if a signal ended it, 126 if it could not be
started). When this process is killed, the command is killed with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from cluster.kubelet.runtimes.helpers import become, linux, users

CANNOT_START = 126


def main(folder: str, command: list[str]) -> None:
    become.close_inherited_files()
    try:
        spec, groups = enter(folder)
    except OSError as error:
        sys.stderr.write(f"cannot enter the container: {error}\n")
        sys.exit(CANNOT_START)
    pid = os.fork()
    if pid == 0:
        _command_process(folder, command, spec, groups)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sys.exit(code if code >= 0 else 128 - code)


def enter(folder: str) -> tuple[dict[str, Any], list[int]]:
    """Into the namespaces of the container in `folder`; its spec, and its control groups for
    `become.join_groups`. Raises OSError."""
    with open(os.path.join(folder, "spec.json")) as file:
        spec: dict[str, Any] = json.load(file)
    with open(os.path.join(folder, "process.json")) as file:
        process = json.load(file)
    if linux.start_ticks(process["pid"]) != process["start_ticks"]:
        raise ProcessLookupError("the container is not running")
    groups = become.open_groups(spec)
    if spec["isolation"] != "plain":
        _enter_namespaces(process["pid"], own_users=spec["isolation"] == "user")
        users.resolve(spec)
    return spec, groups


def _enter_namespaces(shim: int, *, own_users: bool) -> None:
    """The shim has the pid namespace, its first child (the program) all the others."""
    inside = linux.children(shim)
    if not inside:
        raise ProcessLookupError("the container is not running")
    if own_users:
        linux.setns(f"/proc/{shim}/ns/user")
    for name in ("pid", "uts", "ipc", "mnt"):  # mnt last: it takes this view of /proc away
        linux.setns(f"/proc/{inside[0]}/ns/{name}")


def _command_process(
    folder: str, command: list[str], spec: dict[str, Any], groups: list[int]
) -> None:
    try:
        become.join_groups(groups)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        become.program(command, spec, folder)
    except BaseException as failure:
        sys.stderr.write(f"cannot run {command[0]!r}: {failure}\n")
        sys.stderr.flush()
    finally:
        os._exit(CANNOT_START)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
