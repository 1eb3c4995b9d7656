"""The embedded provisioner `raykube.io/local`: volumes on the disks of nodes.

Which node a volume is on is decided here; the kubelet there makes and removes it, and says on its
Node what it holds (`machinery.local_volumes`). A volume of a node that is gone is gone with it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.client import ClientError
from cluster.controllers.framework import Watch
from cluster.controllers.provisioner import CLASSES, Made, Provisioner, Refused
from cluster.machinery import local_volumes, meta, node_selector
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)

Object = dict[str, Any]

RETRY_S = 1.0
DRIVERS = "csidrivers.storage.k8s.io"
_SINGLE_NODE = {"ReadWriteOnce", "ReadWriteOncePod"}


class LocalVolumeProvisioner(Provisioner):
    """`config["default_storage_class"]`: make the class `local`, the default, unless it is there
    or a cluster's administrator has removed it while this leads."""

    name = "local-volume-provisioner"
    account = "local-volume-provisioner"
    finalizer = local_volumes.FINALIZER

    def watches(self) -> Sequence[Watch]:
        return [*super().watches(), Watch("nodes", self._keys_of_node)]

    def serves(self, driver: str) -> bool:
        return driver == local_volumes.PROVISIONER

    def _keys_of_node(self, node: Object) -> Iterable[str]:
        """Volumes that may have been removed there; of a new node, nothing."""
        released = local_volumes.names_in(node, local_volumes.RELEASED)
        ending = [
            meta.name(volume)
            for volume in self._volumes.by_index("provisioner", local_volumes.PROVISIONER)
            if volume["metadata"].get("deletionTimestamp")
            and local_volumes.node_of(volume) == _hostname(node)
        ]
        return [f"volume:{name}" for name in {*released, *ending}]

    async def background(self) -> None:
        if self.context.config.get("default_storage_class"):
            for resource, obj in ((DRIVERS, driver()), (CLASSES, default_class())):
                while not await self._made(resource, obj):
                    await self.clock.sleep(RETRY_S)

    async def _made(self, resource: str, obj: Object) -> bool:
        """Whether it is there, or cannot be."""
        try:
            await self.client.create(resource, obj)
        except ClientError:
            return False
        except ApiError as error:
            if error.reason != "AlreadyExists":
                log.warning("cannot make %s: %s", meta.name(obj), error)
            return error.code < 500 and error.code != 403  # the roles may not be there yet
        return True

    async def make(self, name: str, claim: Object, storage_class: Object, node: str) -> Made:
        modes = set(claim["spec"].get("accessModes") or ())
        if not modes <= _SINGLE_NODE:
            text = ", ".join(sorted(modes - _SINGLE_NODE))
            raise Refused(f"volumes of one node cannot be {text}", after_s=300.0)
        if claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef"):
            raise Refused("volumes of this class start out empty: no dataSource", after_s=300.0)
        if claim["spec"].get("selector"):
            raise Refused("a claim with a selector is not provisioned", after_s=300.0)
        chosen = self._node(claim, storage_class, node)
        parameters = storage_class.get("parameters") or {}
        attributes = {k: v for k, v in parameters.items() if k == local_volumes.SIZE_LIMIT}
        csi: Object = {"driver": local_volumes.DRIVER, "volumeHandle": name}
        if attributes:
            csi["volumeAttributes"] = attributes
        here = {"key": local_volumes.HOSTNAME, "operator": "In", "values": [_hostname(chosen)]}
        terms = [{"matchExpressions": [here]}]
        size = claim["spec"]["resources"]["requests"]["storage"]
        return Made({"csi": csi}, size, {"required": {"nodeSelectorTerms": terms}})

    def _node(self, claim: Object, storage_class: Object, name: str) -> Object:
        """The scheduler's, or (for classes that do not wait) one of those that take pods."""
        nodes = self.informers.of("nodes")
        if name:
            node = nodes.get(name)
            if node is None or not _allowed(node, storage_class):
                raise Refused(f"no volume can be made on node {name}", reschedule=True)
            return node
        found = [n for n in nodes.list() if _takes_pods(n) and _allowed(n, storage_class)]
        if not found:
            raise Refused("no node is ready to hold a volume")
        uid = claim["metadata"]["uid"]
        return max(found, key=lambda n: _rank(uid, meta.name(n)))

    async def unmake(self, volume: Object) -> bool:
        """Its node is asked to remove it, and says when it has."""
        handle, hostname = local_volumes.handle_of(volume), local_volumes.node_of(volume)
        page = await self.client.list(
            "nodes", label_selector=f"{local_volumes.HOSTNAME}={hostname}"
        )
        for node in page["items"]:
            released = local_volumes.names_in(node, local_volumes.RELEASED)
            if handle in local_volumes.names_in(node, local_volumes.HELD):
                if handle not in released:
                    await self._tell(node, released | {handle})
                return False
            if handle in released:
                await self._tell(node, released - {handle})
        return True

    async def _tell(self, node: Object, released: set[str]) -> None:
        """With the version that was read, so that no other change of the list is lost."""
        text = local_volumes.listed(released) or None
        metadata = {"annotations": {local_volumes.RELEASED: text}}
        metadata["resourceVersion"] = node["metadata"]["resourceVersion"]
        await self.client.patch("nodes", meta.name(node), {"metadata": metadata})


def _hostname(node: Object) -> str:
    labels = node["metadata"].get("labels") or {}
    return str(labels.get(local_volumes.HOSTNAME) or meta.name(node))


def _rank(uid: str, node: str) -> bytes:
    """Claims spread over nodes, and a claim that is tried again gets the same one."""
    return hashlib.sha256(f"{uid}/{node}".encode()).digest()


def _takes_pods(node: Object) -> bool:
    spec = node.get("spec") or {}
    closed = any(t["effect"] in ("NoSchedule", "NoExecute") for t in spec.get("taints") or ())
    return meta.condition_is(node, "Ready") and not spec.get("unschedulable") and not closed


def _allowed(node: Object, storage_class: Object) -> bool:
    topologies = storage_class.get("allowedTopologies") or ()
    terms = [
        {
            "matchExpressions": [
                {"operator": "In", **expression}
                for expression in topology.get("matchLabelExpressions") or ()
            ]
        }
        for topology in topologies
    ]
    return not topologies or node_selector.any_term(terms, node)


def driver() -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": local_volumes.DRIVER},
        "spec": {"attachRequired": False, "podInfoOnMount": False, "fsGroupPolicy": "File"},
    }


def default_class() -> Object:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": local_volumes.CLASS, "annotations": default},
        "provisioner": local_volumes.PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }
