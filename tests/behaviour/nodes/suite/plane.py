"""The control plane of the suite: an API server, the controllers and a scheduler, in a thread."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes
import yaml

from actors.seams import system_seams
from cluster.client import Client, ClientConfig
from cluster.controllers.manager import ControllerManager
from cluster.machinery import jwt
from cluster.scheduler.scheduler import Scheduler

Object = dict[str, Any]

PATIENT = {"lease_s": 120.0, "renew_s": 100.0, "retry_s": 0.2}
"""Elections: nobody takes over here, and this process may be held up."""
PATIENCE_S = 120.0
"""How long something may take on a machine that is busy with other things."""


def _api_fixture() -> Any:
    path = Path(__file__).parents[3] / "unit/apiserver/api_fixture.py"
    spec = importlib.util.spec_from_file_location("api_fixture", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["api_fixture"] = module
    spec.loader.exec_module(module)
    return module


api_fixture = _api_fixture()


def eventually(check: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """What `check` gives once that is true. It may raise AssertionError until then."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            if found := check():
                return found
            failure = None
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline_s:
            raise failure or AssertionError("it did not come true in time")
        time.sleep(0.1)


class Plane(api_fixture.RunningApi):  # type: ignore[misc]
    """`client` is the project's own, `core` and `api` are the official Python client's."""

    def __init__(self, folder: Path) -> None:
        key = folder / "service-account.key"
        key.write_bytes(jwt.new_signing_key())
        super().__init__(folder, service_account={"key": str(key)})
        self.url = f"https://127.0.0.1:{self.port}"
        self.call(self._start_others(str(key)))
        kubernetes.config.load_kube_config(self.kubeconfig)
        self.core = kubernetes.client.CoreV1Api()

    def servers(self, user: str, groups: list[str]) -> Object:
        """How a component of this name finds the API, and who it is there."""
        return {"servers": [self.url], **self.authority.issue(user, groups)}

    async def _start_others(self, key: str) -> None:
        seams = system_seams()
        admin = {"servers": [self.url], **self.admin}
        self.client = Client(ClientConfig.from_dict(admin), seams, "suite")
        self.manager, self.scheduler = ControllerManager(), Scheduler()
        common = {"client": admin, "election": PATIENT}
        own = {"name": "cm", "node_grace_s": 3600, "service_account_key": key, "root_ca": "ca"}
        await self.manager.start(seams, {**common, **own})
        await self.scheduler.start(seams, {"name": "scheduler", **common})

    def close(self) -> None:
        self.call(self._stop_others())
        super().close()

    async def _stop_others(self) -> None:
        await self.scheduler.stop()
        await self.manager.stop()
        await self.client.close()

    def namespace(self, name: str) -> str:
        """A new one, once its service account and root certificate are there."""
        self.kubectl("create", "namespace", name)
        for kind, of in (("serviceaccount", "default"), ("configmap", "kube-root-ca.crt")):
            self.kubectl("-n", name, "wait", "--for=create", f"{kind}/{of}", "--timeout=60s")
        return name

    def apply(self, namespace: str, *objects: Object) -> None:
        self.kubectl("-n", namespace, "apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def read(self, resource: str, name: str, namespace: str) -> Object:
        """An object of the core group, as the server tells it."""
        path = f"/api/v1/namespaces/{namespace}/{resource}/{name}"
        status, _, body = self.raw("GET", path)
        assert status == 200, body
        found: Object = json.loads(body)
        return found

    def logs(self, namespace: str, pod: str, container: str = "", **options: Any) -> str:
        return str(
            self.core.read_namespaced_pod_log(
                pod, namespace, container=container or None, _preload_content=False, **options
            ).data.decode()
        )
