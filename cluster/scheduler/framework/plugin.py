"""The extension points of the decision: what a plugin can be asked, and what it answers.

A plugin is a class with a `name` that takes part in as many extension points as it inherits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.columns import Columns, Mask, View
from cluster.scheduler.framework.events import ClusterEvent, Events
from cluster.scheduler.model.pod_info import PodInfo

if TYPE_CHECKING:
    from cluster.scheduler.framework.cycle import Cycle
    from cluster.scheduler.framework.decision import Diagnosis

Object = dict[str, Any]
Scores = NDArray[np.int64]
MAX_SCORE = 100


class Scope(Enum):
    """What an answer about a node depends on, beside the pod; it is kept until that changes."""

    NODE = "the node"
    PODS = "the node and the pods on it"
    CLUSTER = "anything"


class Plugin:
    """`scope` of filter and score; `signature` must tell pods apart that get other answers."""

    name: ClassVar[str]
    scope: ClassVar[Scope] = Scope.CLUSTER
    events: ClassVar[Events | None] = None
    """What may let a pod fit that the plugin rejected: only then `helps` is asked. None: all."""

    def signature(self, pod: PodInfo) -> Hashable:
        """Everything of the pod that answers depend on. Not asked of plugins of scope CLUSTER."""
        return pod.uid

    def helps(self, pod: PodInfo, event: ClusterEvent, columns: Columns) -> bool:
        """Whether a pod that this plugin rejected may fit after the event (a queueing hint).

        The columns know of the event already.
        """
        return True


class PreEnqueuePlugin(Plugin, ABC):
    @abstractmethod
    def pre_enqueue(self, pod: PodInfo) -> str | None:
        """Why the pod must not be tried yet; None if it may be."""


class QueueSortPlugin(Plugin, ABC):
    @abstractmethod
    def key(self, pod: PodInfo, since_s: float) -> Any:
        """Pods with lower keys go first. `since_s`: when it was queued first."""


@dataclass(frozen=True)
class Refused:
    """No node will do, and removing pods from nodes would not help unless `resolvable`."""

    reason: str
    resolvable: bool = False


@dataclass(frozen=True)
class Only:
    """Nodes that come into question; the others are not even looked at."""

    nodes: frozenset[str]


class PreFilterPlugin(Plugin, ABC):
    @abstractmethod
    def pre_filter(self, columns: Columns, pod: PodInfo) -> Refused | Only | None: ...


@dataclass(frozen=True)
class Rejection:
    """Nodes that are ruled out for one reason. `resolvable`: fewer pods on the node could help."""

    nodes: Mask
    reason: str
    resolvable: bool = True


class FilterPlugin(Plugin, ABC):
    def filters(self, pod: PodInfo, columns: Columns) -> bool:
        """False if the plugin rejects no node for such a pod (as upstream's Skip).

        Plugins of scope NODE and PODS must not look at the columns.
        """
        return True

    @abstractmethod
    def filter(self, view: View, pod: PodInfo) -> Iterable[Rejection]: ...

    def helps(self, pod: PodInfo, event: ClusterEvent, columns: Columns) -> bool:
        """Where only the node counts: a node that the plugin lets through now."""
        if self.scope is not Scope.NODE:
            return True
        return event.is_("nodes", "add", "update") and self.fits(event, columns, pod)

    def fits(self, event: ClusterEvent, columns: Columns, pod: PodInfo) -> bool:
        """Whether the filter lets the node through that the event is about."""
        row = columns.rows.get(event.obj["metadata"]["name"])
        if row is None:
            return False
        view = View(columns, np.array([row], np.intp))
        return not any(rejection.nodes[0] for rejection in self.filter(view, pod))


class PostFilterPlugin(Plugin, ABC):
    @abstractmethod
    def post_filter(self, cycle: Cycle, pod: PodInfo, diagnosis: Diagnosis) -> Nomination:
        """No node will do: what could be done about it."""


@dataclass(frozen=True)
class Candidate:
    """A node on which room can be made. `victims`: the most important one first. `violations` of
    disruption budgets."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int


@dataclass(frozen=True)
class Nomination:
    """A node, and the pods that have to go from it first; or no node, and why.

    `keeps`: without a node here, an earlier nomination of the pod stands. `candidates`: all nodes
    that would do; extenders may rule out some.
    """

    node: str = ""
    victims: tuple[PodInfo, ...] = ()
    message: str = ""
    keeps: bool = False
    candidates: Sequence[Candidate] = ()


class ScorePlugin(Plugin, ABC):
    """`normalizes`: raw scores are brought into 0..100 by looking at all feasible nodes."""

    normalizes: ClassVar[bool] = False

    def scores(self, pod: PodInfo, columns: Columns) -> bool:
        """False if every node gets 0 for such a pod. Otherwise as `FilterPlugin.filters`."""
        return True

    @abstractmethod
    def score(self, view: View, pod: PodInfo, feasible: Mask) -> Scores:
        """Only feasible nodes count; plugins of scope NODE and PODS must not look at them."""

    def normalize(self, raw: Scores, feasible: Mask) -> Scores:
        return raw


@dataclass(frozen=True)
class Group:
    """`least`: how many of its pods must be on nodes before any of them is of use."""

    key: str
    least: int


class GroupPlugin(Plugin, ABC):
    @abstractmethod
    def group(self, pod: PodInfo) -> Group | None:
        """Pods of one group are decided about together."""


def normalized(raw: Scores, feasible: Mask, *, reverse: bool = False) -> Scores:
    """Stretch to 0..100 by the highest feasible score (upstream's DefaultNormalizeScore)."""
    highest = int(raw.max(where=feasible, initial=0))
    if highest == 0:
        return np.full(len(raw), MAX_SCORE if reverse else 0, np.int64)
    scaled: Scores = raw * MAX_SCORE // highest
    return MAX_SCORE - scaled if reverse else scaled
