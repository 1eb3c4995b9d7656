"""The kinds of snapshots: custom resources of snapshot.storage.k8s.io/v1."""

from __future__ import annotations

from cluster.controllers.program import custom_resource

GROUP = "snapshot.storage.k8s.io"
SNAPSHOTS = custom_resource(GROUP, "v1", "volumesnapshots", "VolumeSnapshot")
CONTENTS = custom_resource(
    GROUP, "v1", "volumesnapshotcontents", "VolumeSnapshotContent", namespaced=False
)
CLASSES = custom_resource(
    GROUP, "v1", "volumesnapshotclasses", "VolumeSnapshotClass", namespaced=False
)
