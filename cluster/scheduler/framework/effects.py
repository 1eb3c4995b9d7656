"""The extension points round a binding: they may wait and write; the decision has been made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.seams import Seams
from cluster.client import Client
from cluster.scheduler.columns import Columns
from cluster.scheduler.framework.plugin import Plugin
from cluster.scheduler.model.pod_info import PodInfo

if TYPE_CHECKING:
    from cluster.scheduler.binder import Binder


@dataclass(frozen=True)
class Handle:
    """What such plugins have at hand."""

    columns: Columns
    client: Client
    seams: Seams
    binder: Binder


class Unbindable(Exception):
    """The pod cannot be bound now; it is tried again later, and told why."""


class ReservePlugin(Plugin, ABC):
    @abstractmethod
    def reserve(self, columns: Columns, pod: PodInfo, node: str) -> None:
        """Take what the pod will use, so that the next decision knows. Raises Unbindable."""

    @abstractmethod
    def unreserve(self, columns: Columns, pod: PodInfo, node: str) -> None:
        """Give it back; also called when `reserve` never was."""


class PermitPlugin(Plugin, ABC):
    @abstractmethod
    async def permit(self, handle: Handle, pod: PodInfo, node: str) -> None:
        """Return when the pod may be bound, however long that takes. Raises Unbindable."""


class PreBindPlugin(Plugin, ABC):
    @abstractmethod
    async def pre_bind(self, handle: Handle, pod: PodInfo, node: str) -> None:
        """Write what has to be there before the pod is on its node. Raises Unbindable."""


class BindPlugin(Plugin, ABC):
    @abstractmethod
    async def bind(self, handle: Handle, pod: PodInfo, node: str) -> bool | None:
        """True: it is bound; False: surely not; None: not this plugin's pod, ask the next."""


class PostBindPlugin(Plugin, ABC):
    @abstractmethod
    def post_bind(self, handle: Handle, pod: PodInfo, node: str) -> None: ...
