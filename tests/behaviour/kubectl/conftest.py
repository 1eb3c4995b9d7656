"""One API server with controllers, a scheduler and two nodes, and the real kubectl.

`requests` tells what kubectl sent, as the server received it: what goes over the wire is part of
what each command is tested for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from actors.seams import system_seams
from cluster.apiserver.app import App
from cluster.client import Client, ClientConfig
from cluster.controllers.manager import ControllerManager
from cluster.machinery import jwt
from cluster.scheduler.scheduler import Scheduler

TESTS = Path(__file__).parents[2]
QUICK = {"lease_s": 2.0, "renew_s": 1.5, "retry_s": 0.2}


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


api_fixture = _load("api_fixture", TESTS / "unit/apiserver/api_fixture.py")
control = _load("control_conftest", TESTS / "behaviour/control/conftest.py")


@dataclass(frozen=True)
class Sent:
    """One request of kubectl."""

    method: str
    path: str
    query: dict[str, list[str]]
    content_type: str
    accept: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Cluster(api_fixture.RunningApi):  # type: ignore[misc]
    """Everything in one process; pods are run by a stand-in for a kubelet."""

    def __init__(self, folder: Path, sent: list[Sent]) -> None:
        self.sent = sent
        key = folder / "service-account.key"
        key.write_bytes(jwt.new_signing_key())
        super().__init__(folder, service_account={"key": str(key)})
        self.seams = system_seams()
        servers = {"servers": [f"https://127.0.0.1:{self.port}"], **self.admin}
        self.call(self._start_others(servers, str(key)))

    async def _start_others(self, servers: dict[str, Any], key: str) -> None:
        self.client = Client(ClientConfig.from_dict(servers), self.seams, "kubelets")
        self.manager, self.scheduler = ControllerManager(), Scheduler()
        common = {"client": servers, "election": QUICK}
        config = {"name": "cm", "node_grace_s": 3600, "service_account_key": key, "root_ca": "ca"}
        await self.manager.start(self.seams, {**common, **config})
        await self.scheduler.start(self.seams, {"name": "sched", **common})
        for name in ("n1", "n2"):
            await self.client.create("nodes", control.make_node(name))
        self.kubelet = control.Kubelet(self, bind=False)
        await self.kubelet.start()

    def until_sent(self, which: Callable[[Sent], Any], timeout_s: float = 30) -> None:
        """Until the server has had such a request, from a kubectl that runs on its own."""
        end_s = time.monotonic() + timeout_s
        while not any(map(which, list(self.sent))):
            assert time.monotonic() < end_s, self.sent[-5:]
            time.sleep(0.02)

    @property
    def plane(self) -> Any:
        return self

    def close(self) -> None:
        self.call(self._stop_others())
        super().close()

    async def _stop_others(self) -> None:
        await self.kubelet.stop()
        await self.scheduler.stop()
        await self.manager.stop()
        await self.client.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if api_fixture.KUBECTL is None:
        pytest.skip("kubectl is not on PATH: scripts/test installs it")
    handle, sent = App.handle, []

    async def recorded(self: App, request: Any) -> Any:
        if request.headers.get("user-agent", "").startswith("kubectl"):
            sent.append(_sent(request))
        return await handle(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(App, "handle", recorded)
        running = Cluster(tmp_path_factory.mktemp("cluster"), sent)
        yield running
        running.close()


def _sent(request: Any) -> Sent:
    found = request.headers
    return Sent(
        request.method, request.path, request.query, found.get("content-type", ""),
        found.get("accept", ""), request.body,
    )  # fmt: skip


class Kubectl:
    """kubectl in a namespace of its own. `sent` holds the requests of the last command."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.sent: list[Sent] = []

    def __call__(self, *args: str, stdin: str | None = None, ok: bool = True, **more: Any) -> str:
        """What it prints; with ok=False what it says when it fails, as it must."""
        before = len(self.cluster.sent)
        try:
            return str(
                self.cluster.kubectl("-n", self.namespace, *args, stdin=stdin, ok=ok, **more)
            )
        finally:
            self.sent = self.cluster.sent[before:]

    def get(self, *args: str) -> Any:
        return json.loads(self("get", *args, "-o", "json"))

    def request(self, method: str, ending: str = "") -> Sent:
        """The only request of the last command with this method whose path ends like this."""
        found = [s for s in self.sent if s.method == method and s.path.endswith(ending)]
        assert len(found) == 1, [(s.method, s.path) for s in self.sent]
        return found[0]

    def until(self, *args: str) -> None:
        """`kubectl wait`, which fails by itself after a while."""
        self("wait", *args, "--timeout=30s")


@pytest.fixture
def kubectl(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    name = "t" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[4:55]
    name = name.strip("-")
    cluster.kubectl("create", "namespace", name)
    yield Kubectl(cluster, name)
    with contextlib.suppress(AssertionError):
        cluster.kubectl("delete", "namespace", name, "--wait=false")


PROTOBUF = "application/vnd.kubernetes.protobuf"
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


@pytest.fixture(scope="session")
def wire() -> Any:
    """The media types that are looked for."""
    from types import SimpleNamespace

    return SimpleNamespace(
        protobuf=PROTOBUF, strategic=STRATEGIC, merge=MERGE, apply=APPLY,
        json_patch="application/json-patch+json", json="application/json",
    )  # fmt: skip
