"""Claims on volumes of CSI drivers that are to grow (external-resizer)."""

from __future__ import annotations

from typing import Any

from cluster.controllers import csi_drivers
from cluster.controllers.csi_drivers import CsiDrivers
from cluster.controllers.framework import Context
from cluster.controllers.volume_expander import NotExpanded, VolumeExpander
from cluster.machinery import local_volumes, quantity

Object = dict[str, Any]


class CsiResizer(VolumeExpander):
    """`config["csi_folder"]`: where the sockets of drivers are; off without it."""

    name = "csi-resizer"
    account = "csi-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._drivers = CsiDrivers(context.config["csi_folder"])

    def serves(self, volume: Object) -> bool:
        return "csi" in volume["spec"] and not local_volumes.is_local(volume)

    async def expand(self, volume: Object, size: str) -> bool:
        """A driver that can only grow what nodes have staged is told by the nodes."""
        from cluster.csi import capability, csi_pb2
        from cluster.csi.driver import CsiError

        csi = volume["spec"]["csi"]
        driver = await self._drivers.get(csi["driver"])
        if driver is None:
            raise NotExpanded(f"there is no CSI driver {csi['driver']} beside this manager")
        rpcs = csi_pb2.ControllerServiceCapability.RPC
        try:
            if not await driver.controller_can(rpcs.EXPAND_VOLUME):
                return True
            single = await driver.controller_can(rpcs.SINGLE_NODE_MULTI_WRITER)
            secret = csi.get("controllerExpandSecretRef")
            request = csi_pb2.ControllerExpandVolumeRequest(
                volume_id=csi["volumeHandle"],
                capacity_range=csi_pb2.CapacityRange(required_bytes=quantity.value(size)),
                secrets=await csi_drivers.secrets(self.client, secret),
                volume_capability=capability.of_volume(volume, single),
            )
            return bool((await driver.call(request)).node_expansion_required)
        except CsiError as error:
            raise NotExpanded(str(error)) from error
