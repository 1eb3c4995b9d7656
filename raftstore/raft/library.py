"""The released PySyncObj: which file is accepted, and how its constructor is given our parts."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

import pysyncobj.syncobj as library
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from raftstore.raft.journal import WalJournal
from raftstore.raft.wal import Wal

_VERSION = "0.3.17"
_SHA256 = "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4"


def verify_library(path: str = str(library.__file__), version: str = VERSION) -> None:
    """Refuse to run on another PySyncObj than the one whose internals are overridden."""
    digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    if version != _VERSION or digest != _SHA256:
        raise ImportError(f"pysyncobj {_VERSION} is needed, unmodified; found {version} ({digest})")


verify_library()

STATE = library._RAFT_STATE


class NoTransport(Transport):  # type: ignore[misc]
    """SyncObj neither sends nor receives by itself any more."""

    def __init__(self) -> None:
        super().__init__(None, None, [])


class _NoPoller:
    def poll(self, timeout: float) -> None:
        """Nothing to wait for: the owner's loop calls."""


@contextmanager
def constructing(wal: Wal) -> Iterator[None]:
    """SyncObj's constructor makes its log and poller itself; hand it ours."""
    saved = library.createJournal, library.createPoller
    library.createJournal = lambda path: WalJournal(wal)
    library.createPoller = lambda kind: _NoPoller()
    try:
        yield
    finally:
        library.createJournal, library.createPoller = saved
