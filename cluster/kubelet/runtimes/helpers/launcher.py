"""Starts the shims of a node's containers: a process that forks instead of a Python for each.

Standard input is a Unix socket of packets (SOCK_SEQPACKET): a container's folder, with a descriptor
for the answer, which is what `shim.main` prints. Ends with the socket, which is the kubelet's.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback

from cluster.kubelet.runtimes.helpers import become, shim

_CONTROL, _ANSWER = 0, 1
_PATH_SIZE_BYTES = 8192


def main() -> None:
    become.close_inherited_files()
    control = socket.socket(fileno=_CONTROL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a launch ended
    while True:
        folder, answers, _, _ = socket.recv_fds(control, _PATH_SIZE_BYTES, 1)
        if not folder:
            os._exit(0)
        if os.fork() == 0:
            _launch(os.fsdecode(folder), answers[0])
        for descriptor in answers:
            os.close(descriptor)


def _launch(folder: str, answer: int) -> None:
    """In a child: never returns. As the shim, it has nothing of the socket's."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(answer, _ANSWER)
        os.close(answer)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, _CONTROL)
        os.close(null)
        shim.main(folder)
        sys.stdout.flush()
    except BaseException:
        os.write(_ANSWER, traceback.format_exc().encode())
    finally:
        os._exit(0)
