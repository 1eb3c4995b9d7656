"""A cluster for tests of volumes: one node, all controllers, a scheduler, and the real kubectl."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from node_cluster import Cluster, eventually

from cluster.controllers.manager import ControllerManager
from cluster.scheduler.scheduler import Scheduler

ELECTION = {"lease_s": 4.0, "renew_s": 3.0, "retry_s": 0.2}
WAIT_S = 180.0


class VolumeCluster(Cluster):
    csi: Path
    """Where drivers put the sockets of their controller services."""

    def __init__(self, folder: Path, **manager: Any) -> None:
        super().__init__(folder)
        client = self._client("admin")
        common = {"client": client, "election": ELECTION}
        self._call(
            self._run(
                ControllerManager(),
                name="manager",
                **common,
                own_accounts=True,
                default_storage_class=True,
                **manager,
            )
        )
        self._call(self._run(Scheduler(), name="scheduler", **common))
        self.kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=140s")
        self.eventually_get("storageclass", "local")

    def eventually_get(self, *arguments: str) -> Any:
        def exists() -> bool:
            found.clear()
            shown = subprocess.run(
                self.command("get", *arguments, "-o", "name"), capture_output=True, timeout=60
            )
            return shown.returncode == 0 and bool(shown.stdout)

        found: list[Any] = []
        eventually(exists, WAIT_S)
        return self.get(*arguments)

    def gone(self, *arguments: str) -> None:
        self.kubectl("wait", "--for=delete", *arguments, "--timeout=140s")

    def reaches(self, kind: str, name: str, path: str, value: str) -> None:
        self.kubectl(
            "wait", f"{kind}/{name}", f"--for=jsonpath={{{path}}}={value}", "--timeout=140s"
        )

    def runs(self, name: str) -> None:
        try:
            self.wait(name, "condition=Ready", "140s")
        except AssertionError:
            print(self.kubectl("describe", "pod", name))
            print(self.kubectl("get", "pv,pvc,events", "-o", "wide"))
            raise

    def ended(self, name: str) -> str:
        """What a pod that was to succeed has said."""
        try:
            self.wait(name, "jsonpath={.status.phase}=Succeeded", "140s")
        except AssertionError:
            print(self.kubectl("describe", "pod", name))
            print(self.kubectl("get", "pv,pvc,events", "-o", "wide"))
            raise
        return self.kubectl("logs", name)


def claim(name: str, size: str = "16Mi", **spec: Any) -> dict[str, Any]:
    given = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        **spec,
    }
    head = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}}
    return {**head, "spec": given}


def user(name: str, script: str, *, volume: Any, mount: Any = None, **more: Any) -> dict[str, Any]:
    """A pod that the scheduler places, with one volume at /data."""
    container: dict[str, Any] = {"name": "main", "image": "any", "command": ["sh", "-c", script]}
    container["volumeMounts"] = [{"name": "v", "mountPath": "/data", **(mount or {})}]
    container |= more.pop("container", {})
    spec = {"containers": [container], "volumes": [{"name": "v", **volume}], **more}
    spec.setdefault("restartPolicy", "Never")
    spec.setdefault("terminationGracePeriodSeconds", 1)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def of_claim(name: str) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name}}
