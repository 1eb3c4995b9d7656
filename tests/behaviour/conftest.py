"""Makes `node_cluster` importable: with importmode=importlib a test folder is no package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def containerd() -> Iterator[Any]:
    """See `containerd.Containerd`; tests that use it are marked `needs_containerd`."""
    from containerd import Containerd

    made = Containerd()
    yield made
    made.close()


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Any]:
    """See `dockerd.Dockerd`; tests that use it are marked `needs_dockerd`."""
    from dockerd import Dockerd

    made = Dockerd()
    yield made
    made.close()
