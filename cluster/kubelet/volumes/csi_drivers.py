"""CSI drivers of this node: found by their sockets in the registry folder, told on the CSINode.

As upstream's plugin watcher: a socket there says (pluginregistration) where its driver is; the
driver says who it takes this node for, where that is and how many volumes it can have.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.seams import Seams
from cluster.client import Client, ClientError
from cluster.machinery.status import ApiError

if TYPE_CHECKING:
    from cluster.csi.driver import Driver

Object = dict[str, Any]

log = logging.getLogger(__name__)

CSI_NODES = "csinodes.storage.k8s.io"
_POLL_S = 1.0
_MAX_LIMIT = 2**31 - 1


class CsiDrivers:
    def __init__(
        self,
        client: Client,
        seams: Seams,
        node: str,
        folder: str,
        on_change: Callable[[], None],
    ) -> None:
        self._client, self._seams, self._node = client, seams, node
        self._folder, self._on_change = folder, on_change
        self._by_socket: dict[str, Driver] = {}
        self._task: asyncio.Task[None] | None = None

    def get(self, name: str) -> Driver | None:
        return next((d for d in self._by_socket.values() if d.name == name), None)

    def start(self) -> None:
        os.makedirs(self._folder, mode=0o750, exist_ok=True)
        self._task = asyncio.create_task(self._run(), name="csi drivers")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for driver in self._by_socket.values():
            await driver.close()

    async def _run(self) -> None:
        """A look each second: drivers come and go rarely, and a folder is read in microseconds."""
        while True:
            try:
                await self._look()
            except (ApiError, ClientError, OSError) as error:
                log.warning("CSI drivers of this node: %s", error)
            await self._seams.clock.sleep(_POLL_S)

    async def _look(self) -> None:
        found = {os.path.join(self._folder, n) for n in os.listdir(self._folder) if _is_socket(n)}
        for socket in found - self._by_socket.keys():
            await self._register(socket)
        for socket in self._by_socket.keys() - found:
            driver = self._by_socket.pop(socket)
            await driver.close()
            await self._tell(driver.name, None)
            self._on_change()

    async def _register(self, socket: str) -> None:
        from cluster.csi import csi_pb2, registration_pb2
        from cluster.csi.driver import CsiError, Driver

        registrar = Driver(socket)
        driver: Driver | None = None
        try:
            info = await registrar.registration("GetInfo", registration_pb2.InfoRequest())
            if info.type != "CSIPlugin":
                return
            driver = Driver(info.endpoint or socket, info.name)
            answer = await driver.call(csi_pb2.NodeGetInfoRequest())
            await self._tell(info.name, answer)
            status = registration_pb2.RegistrationStatus(plugin_registered=True)
            await registrar.registration("NotifyRegistrationStatus", status)
            self._by_socket[socket], driver = driver, None
            self._on_change()
        except CsiError as error:
            log.warning("CSI driver behind %s is not registered: %s", socket, error)
        finally:
            await registrar.close()
            if driver is not None:
                await driver.close()

    async def _tell(self, name: str, info: Any) -> None:
        """Put the driver on our CSINode and its topology on our Node; None takes it off."""
        csi_node = await self._csi_node()
        others = [d for d in csi_node["spec"].get("drivers") or () if d["name"] != name]
        spec = {"drivers": others if info is None else [*others, entry(name, info)]}
        if info is not None and info.accessible_topology.segments:
            labels = dict(info.accessible_topology.segments)
            await self._client.patch("nodes", self._node, {"metadata": {"labels": labels}})
        await self._client.update(CSI_NODES, {**csi_node, "spec": spec})

    async def _csi_node(self) -> Object:
        found = await self._client.find(CSI_NODES, self._node)
        if found is not None:
            return found
        node = await self._client.get("nodes", self._node)
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node}
        owner["uid"] = node["metadata"]["uid"]
        metadata = {"name": self._node, "ownerReferences": [owner]}
        head = {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": metadata}
        made: Object = await self._client.create(CSI_NODES, {**head, "spec": {"drivers": []}})
        return made


def entry(name: str, info: Any) -> Object:
    """Of a CSINode's spec.drivers, from a NodeGetInfoResponse."""
    found: Object = {"name": name, "nodeID": info.node_id}
    found["topologyKeys"] = sorted(info.accessible_topology.segments)
    if info.max_volumes_per_node > 0:
        found["allocatable"] = {"count": min(info.max_volumes_per_node, _MAX_LIMIT)}
    return found


def _is_socket(name: str) -> bool:
    return name.endswith(".sock") and not name.startswith(".")
