"""The clusters of this user on this machine: a folder each, under one home."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.cli.errors import EXISTS, NO_CLUSTER, USAGE, CommandError
from cluster.compose import Shape, ray_address

NETWORKS = range(16, 126, 2)  # 127.A and 127.(A+1); 127.0 and its neighbours belong to others
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


def home() -> Path:
    """`$RAYKUBE_HOME`, or `~/.raykube`."""
    return Path(os.environ.get("RAYKUBE_HOME") or Path.home() / ".raykube")


def folder(name: str) -> Path:
    return home() / name


def names() -> list[str]:
    return sorted(path.parent.name for path in home().glob("*/cluster.json"))


def create(name: str, **counts: Any) -> Shape:
    """Reserve a name and two /16s of 127.0.0.0/8, and make the folder. Raises CommandError."""
    if not NAME.fullmatch(name):
        raise CommandError(
            f"{name!r} is no cluster name: lower-case letters, digits and dashes, at most 32",
            code=USAGE,
        )
    with _locked():
        if folder(name).exists():
            raise CommandError(
                f"a cluster named {name} exists already",
                hint=f"see `raykube status --name {name}`, or `raykube down --name {name}` first",
                code=EXISTS,
            )
        shape = Shape(name=name, folder=str(folder(name)), network=_free_network(), **counts)
        folder(name).mkdir(mode=0o700)
        for part in ("logs", "pki", "store", "nodes"):
            (folder(name) / part).mkdir(mode=0o700)
        (folder(name) / "cluster.json").write_text(json.dumps(shape.to_dict(), indent=1))
    return shape


def forget(name: str) -> None:
    """Remove the folder, and the home with the last one."""
    shutil.rmtree(folder(name))
    with contextlib.suppress(OSError):  # other clusters are in it
        home().rmdir()


def load(name: str) -> Shape:
    """Raises CommandError if there is no such cluster."""
    try:
        return Shape.from_dict(json.loads((folder(name) / "cluster.json").read_text()))
    except FileNotFoundError:
        known = ", ".join(names())
        hint = f"there are: {known}" if known else "`raykube up` makes one"
        raise CommandError(
            f"no cluster named {name} in {home()}", hint=hint, code=NO_CLUSTER
        ) from None


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """The folder is its own lock, so that nothing is left behind when it goes."""
    home().mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(home(), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _free_network() -> int:
    taken = {load(name).network for name in names()}
    for network in NETWORKS:
        if network not in taken and _reserve(network):
            if not _in_use(network):
                return network
            _reservations.pop().close()
    raise CommandError("no free network in 127.0.0.0/8: too many clusters on this machine")


_reservations: list[socket.socket] = []
"""Held until this command ends: by then the cluster listens, or is gone again."""


def _reserve(network: int) -> bool:
    """Whether no other `up` on this machine is about to use it, from whatever home.

    Ray itself would not notice: its head shares its port with another one that asks for it.
    """
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0raykube-network-{network}")
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation)
    return True


def _in_use(network: int) -> bool:
    """Another user's cluster, or anything else, listens where our Ray head would."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host, _, port = ray_address(network).rpartition(":")
        try:
            probe.bind((host, int(port)))
        except OSError:
            return True
    return False
