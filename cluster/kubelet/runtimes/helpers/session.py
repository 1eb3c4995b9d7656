"""Run a command inside a running container, its streams in the kubelet's hands.

Standard input is a Unix socket. The kubelet sends what to do, a length (4 bytes) and JSON: `folder`
of the container, `command`, and which streams are `wanted`; it may take its time. The answer is
JSON with `error`, and with it the kubelet's ends of the streams: the master of a terminal, or pipes
for those of stdin, stdout and stderr that are wanted. Exits with the command's code (128 + number
for a signal). When the socket is closed the client is gone, or the kubelet: the command is
killed, with everything in its session.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import time
from typing import Any

from cluster.kubelet.runtimes.helpers import become, enter, linux, terminal, users

_CONTROL = 0
_PIPE_BYTES = 256 * 1024
_HANG_UP_S = 0.3
_ROUNDS = 20


def main() -> None:
    become.close_inherited_files()
    control = socket.socket(fileno=os.dup(_CONTROL))
    order = _order(control)
    if order is None:
        return
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)  # the host's: ours goes with the mounts
    try:
        spec, groups = enter.enter(order["folder"])
        session = _Session(order["folder"], spec, groups, order["wanted"], order["command"])
        ends = session.start()
    except OSError as error:
        control.send(json.dumps({"error": str(error)}).encode())
        os._exit(enter.CANNOT_START)
    socket.send_fds(control, [b'{"error": ""}'], ends)
    for descriptor in ends:
        os.close(descriptor)
    os._exit(session.wait(control.fileno(), proc))  # there is nothing to tidy up


def _order(control: socket.socket) -> dict[str, Any] | None:
    """What to do; None if there is nothing any more."""
    head = _receive(control, 4)
    if head is None:
        return None
    data = _receive(control, int.from_bytes(head, "big"))
    return None if data is None else json.loads(data)


def _receive(control: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        piece = control.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return data


class _Session:
    def __init__(
        self,
        folder: str,
        spec: dict[str, Any],
        groups: list[int],
        wanted: dict[str, bool],
        command: list[str],
    ) -> None:
        self._folder, self._spec, self._wanted, self._command = folder, spec, wanted, command
        self._groups = groups
        self._pid = 0

    def start(self) -> list[int]:
        """The kubelet's ends. Raises OSError if the command cannot be run."""
        ours, theirs = self._terminal() if self._wanted["tty"] else self._pipes()
        report, report_write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._become(theirs, report_write)
        for descriptor in {report_write, *theirs}:
            os.close(descriptor)
        error = os.read(report, 4096)
        os.close(report)
        if error:
            os.waitpid(self._pid, 0)
            raise OSError(error.decode(errors="replace"))
        return ours

    def _terminal(self) -> tuple[list[int], list[int]]:
        master, slave = terminal.new(users.terminal_owner(self._spec))
        return [master], [slave]

    def _pipes(self) -> tuple[list[int], list[int]]:
        """Streams that are not wanted are /dev/null."""
        ours, theirs = [], []
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if not self._wanted[name]:
                theirs.append(os.open("/dev/null", os.O_RDWR))
                continue
            read, write = os.pipe()
            with contextlib.suppress(OSError):  # beyond what this user's pipes may hold in all
                fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            ours.append(read if number else write)
            theirs.append(write if number else read)
        return ours, theirs

    def _become(self, streams: list[int], report: int) -> None:
        """In the child: never returns. `report` is closed by exec, which means success."""
        try:
            os.setsid()
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            if self._wanted["tty"]:
                terminal.take(streams[0])
            else:
                for number, descriptor in enumerate(streams):
                    os.dup2(descriptor, number)
            become.join_groups(self._groups)
            become.program(self._command, self._spec, self._folder)
        except BaseException as failure:
            os.write(report, str(failure).encode()[:4096])
        finally:
            os._exit(enter.CANNOT_START)

    def wait(self, control: int, proc: int) -> int:
        """The exit code."""
        ended = os.pidfd_open(self._pid)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(control, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll()}
        if ended not in ready:
            self._end(ended, proc)
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return code if code >= 0 else 128 - code

    def _end(self, ended: int, proc: int) -> None:
        """Hang up first where there is a terminal: a shell or an editor may tidy up."""
        if self._wanted["tty"]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGHUP)
            select.select([ended], [], [], _HANG_UP_S)
        for _ in range(_ROUNDS):
            members = _members(proc, self._pid)
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not members:
                return
            time.sleep(0.005)


def _members(proc: int, session: int) -> list[int]:
    """The living processes of a session, by the numbers of the host."""
    found = []
    for name in filter(str.isdigit, os.listdir(proc)):
        with contextlib.suppress(OSError):
            descriptor = os.open(f"{name}/stat", os.O_RDONLY, dir_fd=proc)
            try:
                state, _, _, sid = os.read(descriptor, 4096).rpartition(b")")[2].split()[:4]
            finally:
                os.close(descriptor)
            if int(sid) == session and state not in (b"Z", b"X"):
                found.append(int(name))
    return found


if __name__ == "__main__":
    main()
