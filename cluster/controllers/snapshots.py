"""The kinds of snapshots: custom resources of snapshot.storage.k8s.io/v1."""

from __future__ import annotations

import importlib.resources
from typing import Any

import yaml

from cluster.client import Client
from cluster.controllers.program import custom_resource
from cluster.machinery.status import ApiError

Object = dict[str, Any]

GROUP = "snapshot.storage.k8s.io"
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
SNAPSHOTS = custom_resource(GROUP, "v1", "volumesnapshots", "VolumeSnapshot")
CONTENTS = custom_resource(
    GROUP, "v1", "volumesnapshotcontents", "VolumeSnapshotContent", namespaced=False
)
CLASSES = custom_resource(
    GROUP, "v1", "volumesnapshotclasses", "VolumeSnapshotClass", namespaced=False
)


def definitions() -> list[Object]:
    text = importlib.resources.files(__package__).joinpath("snapshot_kinds.yaml").read_text()
    return list(yaml.safe_load_all(text))


async def install(client: Client) -> bool:
    """Make the kinds that are missing. Whether the API serves all of them."""
    served = True
    for wanted in definitions():
        try:
            found = await client.create(DEFINITIONS, wanted)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            found = await client.get(DEFINITIONS, wanted["metadata"]["name"])
        conditions = (found.get("status") or {}).get("conditions") or ()
        established = any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
        served = served and established
    return served
