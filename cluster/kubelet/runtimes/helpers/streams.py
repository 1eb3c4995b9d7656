"""The standard streams of a container's process: made by it, held by its shim."""

from __future__ import annotations

import os
import socket
from typing import Any

from cluster.kubelet.runtimes.helpers import terminal, users


def give(spec: dict[str, Any], shim: socket.socket) -> None:
    """Make this process's streams as the spec says and send the shim its ends of them."""
    if spec.get("tty"):
        master, slave = terminal.new(users.terminal_owner(spec))
        names, ends = ["tty"], [master]
        terminal.take(slave)
    else:
        names, ends = [], []
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if number or spec.get("stdin"):
                read, write = os.pipe()
                os.dup2(write if number else read, number)
                os.close(write if number else read)
                names.append(name)
                ends.append(read if number else write)
    socket.send_fds(shim, [" ".join(names).encode()], ends)
    shim.close()
    for descriptor in ends:
        os.close(descriptor)


def take(child: socket.socket) -> dict[str, int]:
    """By name. Of a terminal: `tty` (to resize), `stdout` (to read), `stdin` (to write)."""
    data, descriptors, _, _ = socket.recv_fds(child, 64, 3)
    child.close()
    found = dict(zip(data.decode().split(), descriptors, strict=False))
    for descriptor in found.values():
        os.set_inheritable(descriptor, False)
    if "tty" in found:
        found |= {"stdout": os.dup(found["tty"]), "stdin": os.dup(found["tty"])}
    return found
