"""Terminals: made where the container's own /dev is in sight, and taken by its process."""

from __future__ import annotations

import fcntl
import os
import struct
import termios


def new(uid: int | None) -> tuple[int, int]:
    """(master, slave); the slave belongs to the user whose processes will open it by name."""
    master, slave = os.openpty()
    if uid is not None:
        os.fchown(slave, uid, -1)
    return master, slave


def take(slave: int) -> None:
    """Make it the controlling terminal and the standard streams of this (session's) process."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for descriptor in (0, 1, 2):
        os.dup2(slave, descriptor)
    if slave > 2:
        os.close(slave)


def resize(master: int, columns: int, rows: int) -> None:
    size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
    fcntl.ioctl(master, termios.TIOCSWINSZ, size)
