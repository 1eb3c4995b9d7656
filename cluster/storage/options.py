"""What a client may ask of a write."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.machinery import status
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError
from cluster.storage.encoding import Object

ORPHAN = "Orphan"
BACKGROUND = "Background"
FOREGROUND = "Foreground"


@dataclass(frozen=True, slots=True)
class Preconditions:
    """Empty text: not asked for."""

    uid: str = ""
    resource_version: str = ""

    def refusal(self, resource: Resource, obj: Object) -> ApiError | None:
        """409 if the object is not the one, or not in the version, that the client means."""
        metadata = obj["metadata"]
        name, version = metadata["name"], self.resource_version
        if self.uid and self.uid != metadata["uid"]:
            return uid_conflict(resource, name, self.uid, metadata["uid"])
        if version and version != metadata["resourceVersion"]:
            text = (
                f"Precondition failed: ResourceVersion in precondition: {version}, "
                f"ResourceVersion in object meta: {metadata['resourceVersion']}"
            )
            return status.conflict(resource, name, text)
        return None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """meta/v1 DeleteOptions; `propagation` is "" where the client leaves it to the resource."""

    grace_s: int | None = None
    propagation: str = ""
    preconditions: Preconditions = Preconditions()
    dry_run: bool = False


def uid_conflict(resource: Resource, name: str, asked: str, had: str) -> ApiError:
    text = f"Precondition failed: UID in precondition: {asked}, UID in object meta: {had}"
    return status.conflict(resource, name, text)
