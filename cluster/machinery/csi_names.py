"""Names by which controllers and kubelets know the same CSI volume. Pure; upstream's."""

from __future__ import annotations

import hashlib


def unique_name(driver: str, handle: str) -> str:
    """In node.status.volumesAttached and volumesInUse."""
    return f"kubernetes.io/csi/{driver}^{handle}"


def attachment_name(driver: str, handle: str, node: str) -> str:
    """Of the VolumeAttachment."""
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()


def inline_handle(pod_uid: str, volume: str) -> str:
    """Of a volume that a pod brings with it, which lives no longer than the pod."""
    return "csi-" + hashlib.sha256(f"{pod_uid}/{volume}".encode()).hexdigest()
