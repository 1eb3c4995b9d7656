"""The interface of volume plugins: how one kind of volume comes to stand on this node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

Object = dict[str, Any]
Objects = Mapping[tuple[str, str], Object | None]


_RETRY_S, _RETRY_MAX_S, _DOUBLED = 0.5, 30.0, 6


def retry_after_s(tries: int) -> float:
    """What a volume waits for is often there soon: it is being attached, its claim bound."""
    return float(min(_RETRY_S * 2 ** min(tries - 1, _DOUBLED), _RETRY_MAX_S))


class NotReady(Exception):
    """What the volume needs is not there yet: an event says so, and it is tried again."""


@dataclass(frozen=True)
class Wanted:
    """One volume of one pod. `volume` and `claim` are there where it is of a claim."""

    pod: Object
    name: str
    source: Object
    """The entry of the pod's spec.volumes, or the spec of the PersistentVolume."""
    folder: str
    """`DATA/pods/UID/volumes/KIND/NAME`: the plugin's own, for this pod."""
    objects: Objects = field(default_factory=dict)
    volume: Object | None = None
    claim: Object | None = None
    read_only: bool = False

    @property
    def block(self) -> bool:
        return self.source.get("volumeMode") == "Block"

    @property
    def identity(self) -> str:
        """Names what several pods of the node may share."""
        uid = self.pod["metadata"]["uid"]
        return self.volume["metadata"]["name"] if self.volume else f"{uid}/{self.name}"


@dataclass(frozen=True)
class Placed:
    """A volume that stands, as it is recorded on disk before anything is made.

    `path` is what containers get: a folder, or a block device. `details` are the plugin's own.
    """

    plugin: str
    pod_uid: str
    name: str
    identity: str
    path: str
    read_only: bool = False
    claim: str = ""
    """The key of its claim; "" for other volumes."""
    in_use: str = ""
    """As node.status.volumesInUse has it; "" for what is never attached."""
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "details": dict(self.details)}


class Plugin(Protocol):
    """All methods may be repeated: each brings about what is still missing."""

    name: str

    def owns(self, wanted: Wanted) -> bool:
        """Whether fsGroup may own its files."""
        ...

    def supports(self, wanted: Wanted) -> bool: ...

    def plan(self, wanted: Wanted) -> Placed:
        """Where it will stand; nothing is made yet. Raises ConfigError."""
        ...

    async def set_up(self, wanted: Wanted, placed: Placed) -> None:
        """Raises ConfigError, NotReady, OSError."""
        ...

    async def tear_down(self, placed: Placed, last: bool) -> None:
        """`last`: no other pod of this node uses it. Works from the record alone."""
        ...

    async def expand(self, wanted: Wanted, placed: Placed) -> int | None:
        """Grow the file system to the volume's capacity; its size in bytes, or None if
        that is as large as the volume says (a folder has no size)."""
        ...
