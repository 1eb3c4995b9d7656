"""A whole cluster, brought up once for a session with the real command, and the real kubectl."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cluster_commands import Cluster, eventually, fetch


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """3 store members, an API server, 2 schedulers and managers, 3 nodes, a fleet, on Ray."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not on PATH: scripts/test installs it")
    home = tempfile.mkdtemp(prefix="rk-")  # short: it holds a Unix socket
    running = Cluster("test", home, f"{home}/kubeconfig")
    begun = time.monotonic()
    started = running.raykube(
        "up",
        "--etcd",
        "--fleets",
        "1",
        "--kubeconfig",
        running.kubeconfig,
        "--wait",
        "120s",
        "--retain",
        check=False,
    )
    print(f"\nraykube up took {time.monotonic() - begun:.1f} s\n{started.stderr}")
    try:
        if started.returncode != 0:
            logs = "".join(
                f"\n--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
                for path in (running.folder / "logs").glob("*.log")
            )
            pytest.exit(f"raykube up failed:\n{started.stderr}{logs}", returncode=1)
        yield running
    finally:
        running.raykube("down", check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for one test; it is deleted without waiting."""
    name = "t-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[-50:]
    name = name.strip("-")
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false", check=False)


class Harness:
    """What tests use beside the cluster itself."""

    eventually = staticmethod(eventually)
    fetch = staticmethod(fetch)


@pytest.fixture(scope="session")
def harness() -> type[Harness]:
    return Harness
