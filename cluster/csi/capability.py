"""How a volume is to be used, in CSI's words. Pure, but for its messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.csi import csi_pb2

Object = dict[str, Any]

_MODE = csi_pb2.VolumeCapability.AccessMode


def of(
    modes: Iterable[str],
    *,
    block: bool,
    fs_type: str = "",
    options: Iterable[str] = (),
    single_writer: bool = False,
) -> Any:
    """`single_writer`: whether the driver tells one pod from several on a node."""
    found = csi_pb2.VolumeCapability()
    if block:
        found.block.SetInParent()
    else:
        found.mount.fs_type = fs_type
        found.mount.mount_flags.extend(options)
    found.access_mode.mode = _mode(set(modes), single_writer)
    return found


def _mode(modes: set[str], single_writer: bool) -> Any:
    if "ReadWriteMany" in modes:
        return _MODE.MULTI_NODE_MULTI_WRITER
    if "ReadOnlyMany" in modes:
        writes = modes & {"ReadWriteOnce", "ReadWriteOncePod"}
        return _MODE.MULTI_NODE_SINGLE_WRITER if writes else _MODE.MULTI_NODE_READER_ONLY
    if not single_writer:
        return _MODE.SINGLE_NODE_WRITER
    pod = "ReadWriteOncePod" in modes
    return _MODE.SINGLE_NODE_SINGLE_WRITER if pod else _MODE.SINGLE_NODE_MULTI_WRITER


def of_volume(volume: Object, single_writer: bool) -> Any:
    """Of a PersistentVolume."""
    spec = volume["spec"]
    return of(
        spec.get("accessModes") or (),
        block=spec.get("volumeMode") == "Block",
        fs_type=spec["csi"].get("fsType") or "",
        options=spec.get("mountOptions") or (),
        single_writer=single_writer,
    )
