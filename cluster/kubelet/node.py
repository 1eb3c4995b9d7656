"""What every pod of a node shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.client import Client, EventRecorder
from cluster.kubelet.backoff import Limits
from cluster.kubelet.cgroups.pods import PodGroups
from cluster.kubelet.handlers import Handlers
from cluster.kubelet.images.manager import ImageManager
from cluster.kubelet.references import References
from cluster.kubelet.resizer import Refusal
from cluster.kubelet.runtimes.base import Runtime
from cluster.kubelet.sandbox import Sandboxes
from cluster.kubelet.status_manager import StatusManager
from cluster.kubelet.tokens import Tokens
from cluster.kubelet.volumes.manager import VolumeManager

Object = dict[str, Any]


@dataclass
class Node:
    """What every pod of a node shares."""

    name: str
    ip: str
    data_dir: str
    client: Client
    seams: Seams
    runtime: Runtime
    sandboxes: Sandboxes
    volumes: VolumeManager
    references: References
    tokens: Tokens
    statuses: StatusManager
    events: EventRecorder
    handlers: Handlers
    limits: Limits
    allocatable: Mapping[str, str]
    services: Callable[[], Iterable[Object]]
    groups: PodGroups | None = None
    images: ImageManager | None = None
    refusal: Refusal = lambda _pod: None
    """Whether a pod that is here cannot have what it asks for."""
