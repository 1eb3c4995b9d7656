"""The last steps before a process becomes the container's program."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from cluster.kubelet.runtimes.helpers import capabilities, linux, seccomp

NOT_FOUND = "executable file not found"


def close_inherited_files() -> None:
    """Keep standard input and output only: uvloop's subprocesses inherit the kubelet's sockets."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def open_groups(spec: dict[str, Any]) -> list[int]:
    """The container's control groups, to be joined by name of these files later: once a process
    has its own view of the file system it does not see them any more."""
    return [os.open(path, os.O_WRONLY) for path in (spec.get("cgroup") or {}).get("members", ())]


def join_groups(groups: list[int]) -> None:
    """As late as can be, so that what made the container does not count as its memory."""
    for descriptor in groups:
        os.write(descriptor, b"0")


def program(command: list[str], spec: dict[str, Any], folder: str) -> None:
    """Drop to the container's user and folder, then exec. Only returns by raising OSError."""
    _prefer_to_be_killed(spec)
    _change_folder(spec, folder)
    _reset_signals()
    os.umask(0o022)
    _give_up_privileges(spec)
    try:
        os.execvpe(command[0], command, spec["env"])
    except FileNotFoundError:
        where = "" if "/" in command[0] else " in $PATH"
        message = f'exec: "{command[0]}": {NOT_FOUND}{where}'
        raise FileNotFoundError(message) from None


def _prefer_to_be_killed(spec: dict[str, Any]) -> None:
    """For when the whole machine runs out of memory."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(spec.get("oom_score_adj", 0)))  # less than before is only for root


def _give_up_privileges(spec: dict[str, Any]) -> None:
    """In this order: a filter needs privileges too, unless none can be gained any more."""
    if spec["isolation"] == "user":
        _become_in_namespace(spec)
    if spec["no_new_privileges"]:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    kept = spec.get("capabilities")
    if kept is not None and capabilities.may_limit():
        capabilities.limit_to(kept)
    may_filter = os.geteuid() == 0 or spec["no_new_privileges"]
    if spec.get("seccomp") == "RuntimeDefault" and may_filter:
        seccomp.install(seccomp.default_filter(kept or ()))
    if spec["isolation"] != "user":
        _change_user(spec)


def _become_in_namespace(spec: dict[str, Any]) -> None:
    """There is one user outside, whatever its number is inside: root needs nothing."""
    wanted = (spec["uid"] or 0, spec["gid"] or 0)
    if wanted != (0, 0):
        linux.new_user_namespace(*wanted)


def _change_user(spec: dict[str, Any]) -> None:
    if spec["uid"] is None and spec["gid"] is None:
        if spec["groups"] and os.geteuid() == 0:
            os.setgroups(spec["groups"])
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
