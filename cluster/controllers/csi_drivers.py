"""The CSI drivers that this manager can reach: each a socket `NAME.sock` in one folder.

A driver's controller service stands beside the manager (as the sidecars of upstream stand beside
the driver); whoever runs the driver puts its socket there.
"""

from __future__ import annotations

import asyncio
import base64
import os
from typing import TYPE_CHECKING, Any

from cluster.client import Client

if TYPE_CHECKING:
    from cluster.csi.driver import Driver

Object = dict[str, Any]

_PREFIX = "csi.storage.k8s.io/"


class CsiDrivers:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._by_socket: dict[str, Driver] = {}
        self._lock = asyncio.Lock()

    async def get(self, name: str) -> Driver | None:
        """Raises CsiError of a driver that is there and does not say its name."""
        async with self._lock:
            await self._look()
        return next((d for d in self._by_socket.values() if d.name == name), None)

    async def names(self) -> list[str]:
        async with self._lock:
            await self._look()
        return sorted(driver.name for driver in self._by_socket.values())

    async def _look(self) -> None:
        from cluster.csi import csi_pb2
        from cluster.csi.driver import CsiError, Driver

        found = {os.path.join(self._folder, n) for n in _names(self._folder)}
        for socket in self._by_socket.keys() - found:
            await self._by_socket.pop(socket).close()
        for socket in found - self._by_socket.keys():
            driver = Driver(socket)
            try:
                answer = await driver.call(csi_pb2.GetPluginInfoRequest(), timeout_s=5.0)
            except CsiError:  # it is starting, or gone: the next look tries it again
                await driver.close()
                continue
            driver.name = answer.name
            self._by_socket[socket] = driver

    async def close(self) -> None:
        for driver in self._by_socket.values():
            await driver.close()
        self._by_socket.clear()


def _names(folder: str) -> list[str]:
    return [n for n in os.listdir(folder) if n.endswith(".sock")] if os.path.isdir(folder) else []


def plain(parameters: dict[str, str]) -> dict[str, str]:
    """Those of a class that are the driver's own."""
    return {k: v for k, v in parameters.items() if not k.startswith(_PREFIX)}


def fs_type(parameters: dict[str, str]) -> str:
    return parameters.get(f"{_PREFIX}fstype") or ""


def secret_ref(parameters: dict[str, str], use: str, claim: Object) -> Object | None:
    """The Secret that a class names for `use` (provisioner, node-stage, ...). As upstream, with
    the claim's name and namespace put in for ${pvc.name} and ${pvc.namespace}."""
    name = parameters.get(f"{_PREFIX}{use}-secret-name")
    namespace = parameters.get(f"{_PREFIX}{use}-secret-namespace")
    if not name or not namespace:
        return None
    found = {"name": name, "namespace": namespace}
    for key, value in found.items():
        for mark, text in (("name", "name"), ("namespace", "namespace")):
            value = value.replace(f"${{pvc.{mark}}}", claim["metadata"][text])
        found[key] = value
    return found


async def secrets(client: Client, reference: Object | None) -> dict[str, str]:
    """What a driver is given. Raises ApiError; a missing Secret is one with code 404."""
    if not reference:
        return {}
    found = await client.get("secrets", reference["name"], reference["namespace"])
    return {k: base64.b64decode(v).decode() for k, v in (found.get("data") or {}).items()}
