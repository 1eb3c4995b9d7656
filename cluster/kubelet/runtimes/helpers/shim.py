"""One small process per container: owns it, copies its output, records its end.

`main(folder)` starts the shim away from its caller (own session, reparented to init), writes
`process.json` (pid and start time) before anything runs, answers on stdout with `{"pid", "error"}`
and ends. The shim is pid 1 of the container's pid namespace where there is one, so a SIGKILL of
it ends everything inside; elsewhere, and in the namespace of another container, it is the
subreaper of the tree. It forwards stop signals to
the container's first process; KILL_NOW makes it kill that process but still record the end.
The streams are its own as well, so that a kubelet may come and go: who attaches connects to it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from functools import partial
from typing import Any, NamedTuple

from cluster.kubelet.runtimes.helpers import (
    attachments,
    become,
    crilog,
    filesystem,
    linux,
    namespaces,
    streams,
    terminal,
    users,
)
from cluster.kubelet.runtimes.helpers.polling import Poller

KILL_NOW = signal.SIGRTMIN + 1
_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_DRAIN_TIMEOUT_S = 2.0
_READ_SIZE_BYTES = 65536
_STEP_MS = 500.0
_FLUSH_TIMEOUT_S = 30.0


def write_json(path: str, value: Any) -> None:
    """Replace a small file in one step, so that no reader sees half of it."""
    with open(path + ".new", "w") as file:
        json.dump(value, file)
    os.replace(path + ".new", path)


def main(folder: str) -> None:
    """The launcher: fork the shim, record it, report whether the program could be started."""
    become.close_inherited_files()
    with open(os.path.join(folder, "spec.json")) as file:
        spec = json.load(file)
    go_read, go_write = os.pipe()
    report_read, report_write = os.pipe()
    error = "" if spec["isolation"] == "plain" else _enter_pid_namespace(spec)
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        os.close(report_read)
        _shim_process(folder, spec, go_read, report_write, error)
    os.close(go_read)
    os.close(report_write)
    write_json(os.path.join(folder, "process.json"), _identity(pid))
    os.write(go_write, b"g")
    report = _read_all(report_read)
    print(json.dumps({"pid": pid, "error": report.decode(errors="replace")}))


def _identity(pid: int) -> dict[str, Any]:
    return {"pid": pid, "start_ticks": linux.start_ticks(pid), "started_at": time.time()}


def _enter_pid_namespace(spec: dict[str, Any]) -> str:
    """For the next fork: a new one, that of the container in the folder `join`, or the host's.

    Errors are told by the shim, so that there is one path for them.
    """
    other = spec.get("join") or ""
    try:
        if spec.get("host_pid"):
            return ""
        if other:
            with open(os.path.join(other, "process.json")) as file:
                linux.setns(f"/proc/{json.load(file)['pid']}/ns/pid")
        elif spec["isolation"] == "user":
            linux.new_user_namespace(0, 0, linux.CLONE_NEWPID)
        else:
            linux.unshare(linux.CLONE_NEWPID)
    except OSError as error:
        return str(error)
    return ""


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, _READ_SIZE_BYTES):
        parts.append(part)
    return b"".join(parts)


def _shim_process(folder: str, spec: dict[str, Any], go: int, report: int, error: str) -> None:
    """Never returns. Without the launcher's word (it was killed) nothing is started."""
    code = 1
    try:
        os.setsid()
        if os.read(go, 1):
            _detach_output()
            if error:
                raise OSError(errno.EPERM, error)
            _Shim(folder, spec).run(report)
            code = 0
    except BaseException as failure:
        with contextlib.suppress(OSError):
            os.write(report, f"cannot create the container: {failure}".encode())
    finally:
        os._exit(code)


def _detach_output() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.chdir("/")


class _Output(NamedTuple):
    """One output stream: how attached clients know it, and where its lines go."""

    kind: int
    stream: crilog.Stream


class _Shim:
    def __init__(self, folder: str, spec: dict[str, Any]) -> None:
        self._folder = folder
        self._spec = spec
        self._namespaced = spec["isolation"] != "plain"
        elsewhere = spec.get("join") or spec.get("host_pid")
        self._is_init = self._namespaced and not elsewhere
        self._log = crilog.LogFile(spec["log"], spec["log_size_bytes_max"], spec["log_files_max"])
        self._outputs: dict[int, _Output] = {}
        self._child = 0
        self._status: int | None = None
        self._poller = Poller()
        self._throttled = False

    def run(self, report: int) -> None:
        self._keep_image()
        wake = self._watch_signals()
        ours, theirs = socket.socketpair()
        self._child = os.fork()
        if self._child == 0:
            ours.close()
            self._container_process(report, theirs)
        os.close(report)
        theirs.close()
        self._take_streams(ours)
        self._copy_until_exit(wake)
        self._kill_rest()
        self._drain()
        self._attachments.close()
        self._record_exit()

    def _keep_image(self) -> None:
        """For as long as this process lives nobody may remove what the container runs on."""
        if lock := self._spec.get("image_lock"):
            self._image = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._image, fcntl.LOCK_SH)

    def _watch_signals(self) -> int:
        wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(KILL_NOW, lambda *_: self._signal_child(signal.SIGKILL))
        for number in _FORWARDED:
            signal.signal(number, lambda got, _frame: self._signal_child(got))
        if not self._is_init:
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        return wake

    def _signal_child(self, number: int) -> None:
        if self._child and self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, number)

    def _container_process(self, report: int, shim: socket.socket) -> None:
        """In the child: never returns. `report` is closed by exec, which means success.

        The streams are made here: a terminal has to be one of the container's own /dev.
        """
        try:
            os.setsid()
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            groups = become.open_groups(self._spec)
            if self._namespaced:
                namespaces.enter_ipc(self._spec)
                filesystem.enter_own_root(self._folder, self._spec)
                users.resolve(self._spec)
            else:
                filesystem.link_mounts(self._folder, self._spec)
            streams.give(self._spec, shim)
            become.join_groups(groups)
            become.program(self._spec["command"], self._spec, self._folder)
        except BaseException as failure:
            os.write(report, str(failure).encode())
        finally:
            os._exit(128)

    def _take_streams(self, child: socket.socket) -> None:
        """Nothing comes if the container could not be made; its end is recorded all the same."""
        found = streams.take(child)
        stdin, self._master = None, found.get("tty")
        if "stdin" in found:
            once = bool(self._spec.get("stdin_once")) and self._master is None
            stdin = attachments.StandardInput(self._poller, found["stdin"], once)
        for name, kind in (("stdout", attachments.STDOUT), ("stderr", attachments.STDERR)):
            if name in found:
                stream = crilog.Stream(name, self._log)
                self._outputs[found[name]] = _Output(kind, stream)
        self._attachments = attachments.Attachments(self._poller, self._folder, stdin, self._resize)
        self._watch_outputs()

    def _resize(self, columns: int, rows: int) -> None:
        if self._master is not None:
            with contextlib.suppress(OSError):
                terminal.resize(self._master, columns, rows)

    def _watch_outputs(self) -> None:
        for descriptor in self._outputs:
            self._poller.watch(descriptor, select.POLLIN, partial(self._copy, descriptor))

    def _throttle(self) -> None:
        """Take no output while somebody attached is behind."""
        self._attachments.drop_stuck()
        if self._attachments.full == self._throttled:
            return
        self._throttled = not self._throttled
        if self._throttled:
            for descriptor in self._outputs:
                self._poller.unwatch(descriptor)
        else:
            self._watch_outputs()

    def _copy_until_exit(self, wake: int) -> None:
        def woken(_events: int) -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            self._reap()

        self._poller.watch(wake, select.POLLIN, woken)
        self._reap()
        while self._status is None:
            self._poller.run_once(_STEP_MS if self._attachments.unsent else None)
            self._throttle()
        self._poller.unwatch(wake)

    def _copy(self, descriptor: int, _events: int = 0) -> None:
        try:
            data = os.read(descriptor, _READ_SIZE_BYTES)
        except OSError as error:
            if error.errno != errno.EIO:  # which is the end of a terminal
                raise
            data = b""
        output = self._outputs[descriptor]
        if data:
            output.stream.feed(data)
            self._attachments.output(output.kind, data)
            return
        output.stream.finish()
        del self._outputs[descriptor]
        self._poller.unwatch(descriptor)
        os.close(descriptor)

    def _reap(self) -> None:
        """Collect every child that ended, the adopted orphans too."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._child:
                    self._status = status

    def _kill_rest(self) -> None:
        """The container is over with its first process: nothing of it goes on."""
        if self._is_init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            return
        while rest := linux.own_children():
            for pid in rest:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)

    def _drain(self) -> None:
        """The rest of the output, also to those attached: within limits of time."""
        deadline = time.monotonic() + _DRAIN_TIMEOUT_S
        while self._outputs and (left := deadline - time.monotonic()) > 0:
            self._poller.run_once(min(left * 1000, _STEP_MS))
            self._throttle()
            if self._throttled:
                deadline = time.monotonic() + _DRAIN_TIMEOUT_S
        for output in self._outputs.values():
            output.stream.finish()
        self._log.close()
        deadline = time.monotonic() + _FLUSH_TIMEOUT_S
        while self._attachments.unsent and time.monotonic() < deadline:
            self._poller.run_once(_STEP_MS)
            self._attachments.drop_stuck()

    def _record_exit(self) -> None:
        assert self._status is not None
        code = os.waitstatus_to_exitcode(self._status)
        record: dict[str, Any] = {
            "exit_code": code if code >= 0 else 128 - code,
            "signal": -code if code < 0 else 0,
            "finished_at": time.time(),
            "lost_log_bytes": self._log.lost_bytes,
        }
        if code != 0 and self._memory_ran_out():
            record["reason"] = "OOMKilled"
        write_json(os.path.join(self._folder, "exit.json"), record)

    def _memory_ran_out(self) -> bool:
        """Whether the kernel killed anything of this container for its memory limit."""
        path = (self._spec.get("cgroup") or {}).get("kills")
        try:
            with open(path or os.devnull) as file:
                pairs = (line.split() for line in file)
                return any(name == "oom_kill" and int(count) > 0 for name, count in pairs)
        except OSError:  # somebody removed the group
            return False


if __name__ == "__main__":
    main(sys.argv[1])
