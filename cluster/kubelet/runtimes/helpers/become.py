"""The last steps before a process becomes the container's program."""

from __future__ import annotations

import os
import signal
from typing import Any

from cluster.kubelet.runtimes.helpers import linux


def close_inherited_files() -> None:
    """Keep standard input and output only: uvloop's subprocesses inherit the kubelet's sockets."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def program(command: list[str], spec: dict[str, Any], folder: str) -> None:
    """Drop to the container's user and folder, then exec. Only returns by raising OSError."""
    _change_user(spec)
    _change_folder(spec, folder)
    if spec["no_new_privileges"]:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    _reset_signals()
    os.umask(0o022)
    try:
        os.execvpe(command[0], command, spec["env"])
    except FileNotFoundError:
        where = "" if "/" in command[0] else " in $PATH"
        message = f'exec: "{command[0]}": executable file not found{where}'
        raise FileNotFoundError(message) from None


def _change_user(spec: dict[str, Any]) -> None:
    if spec["uid"] is None and spec["gid"] is None:
        return
    gid = spec["gid"] if spec["gid"] is not None else 0
    os.setgroups(spec["groups"])
    os.setgid(gid)
    if spec["uid"] is not None:
        os.setuid(spec["uid"])


def _change_folder(spec: dict[str, Any], folder: str) -> None:
    if spec["isolation"] == "plain":
        cwd = spec["cwd"] if os.path.isdir(spec["cwd"]) else os.path.join(folder, "cwd")
    else:
        cwd = spec["cwd"] or "/"
    os.makedirs(cwd, exist_ok=True)
    os.chdir(cwd)


def _reset_signals() -> None:
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
