"""A profile: the plugins that decide about the pods of one scheduler name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from cluster.scheduler.framework.effects import (
    BindPlugin,
    PermitPlugin,
    PostBindPlugin,
    PreBindPlugin,
    ReservePlugin,
)
from cluster.scheduler.framework.plugin import (
    FilterPlugin,
    GroupPlugin,
    Plugin,
    PostFilterPlugin,
    PreEnqueuePlugin,
    PreFilterPlugin,
    QueueSortPlugin,
    ScorePlugin,
)

P = TypeVar("P", bound=Plugin)

POINTS: dict[str, type[Plugin]] = {
    "preEnqueue": PreEnqueuePlugin,
    "queueSort": QueueSortPlugin,
    "preFilter": PreFilterPlugin,
    "filter": FilterPlugin,
    "postFilter": PostFilterPlugin,
    "score": ScorePlugin,
    "reserve": ReservePlugin,
    "permit": PermitPlugin,
    "preBind": PreBindPlugin,
    "bind": BindPlugin,
    "postBind": PostBindPlugin,
    "group": GroupPlugin,
}
"""Extension points by their names in KubeSchedulerConfiguration; preScore is part of score, and
"group" is this project's own."""


@dataclass(frozen=True)
class Profile:
    """`points`: the plugins of each extension point, in order; `weights` of scores by name."""

    name: str
    points: dict[str, tuple[Plugin, ...]]
    weights: dict[str, int]

    @classmethod
    def of(cls, name: str, plugins: Iterable[tuple[Plugin, int]]) -> Profile:
        """Each plugin at every extension point that it has."""
        given = [*plugins]
        points = {
            point: tuple(plugin for plugin, _ in given if isinstance(plugin, kind))
            for point, kind in POINTS.items()
        }
        return cls(name, points, {plugin.name: weight for plugin, weight in given})

    def at(self, point: str, kind: type[P]) -> Sequence[P]:
        return [plugin for plugin in self.points.get(point, ()) if isinstance(plugin, kind)]

    @cached_property
    def pre_enqueue(self) -> Sequence[PreEnqueuePlugin]:
        return self.at("preEnqueue", PreEnqueuePlugin)  # type: ignore[type-abstract]

    @cached_property
    def queue_sort(self) -> QueueSortPlugin:
        return self.at("queueSort", QueueSortPlugin)[0]  # type: ignore[type-abstract]

    @cached_property
    def pre_filters(self) -> Sequence[PreFilterPlugin]:
        return self.at("preFilter", PreFilterPlugin)  # type: ignore[type-abstract]

    @cached_property
    def filters(self) -> Sequence[FilterPlugin]:
        return self.at("filter", FilterPlugin)  # type: ignore[type-abstract]

    @cached_property
    def post_filters(self) -> Sequence[PostFilterPlugin]:
        return self.at("postFilter", PostFilterPlugin)  # type: ignore[type-abstract]

    @cached_property
    def scores(self) -> Sequence[tuple[ScorePlugin, int]]:
        """With their weights."""
        found = self.at("score", ScorePlugin)  # type: ignore[type-abstract]
        return [(plugin, self.weights.get(plugin.name) or 1) for plugin in found]

    @cached_property
    def reserves(self) -> Sequence[ReservePlugin]:
        return self.at("reserve", ReservePlugin)  # type: ignore[type-abstract]

    @cached_property
    def permits(self) -> Sequence[PermitPlugin]:
        return self.at("permit", PermitPlugin)  # type: ignore[type-abstract]

    @cached_property
    def pre_binds(self) -> Sequence[PreBindPlugin]:
        return self.at("preBind", PreBindPlugin)  # type: ignore[type-abstract]

    @cached_property
    def binds(self) -> Sequence[BindPlugin]:
        return self.at("bind", BindPlugin)  # type: ignore[type-abstract]

    @cached_property
    def post_binds(self) -> Sequence[PostBindPlugin]:
        return self.at("postBind", PostBindPlugin)  # type: ignore[type-abstract]

    @cached_property
    def groups(self) -> Sequence[GroupPlugin]:
        return self.at("group", GroupPlugin)  # type: ignore[type-abstract]

    @cached_property
    def plugins(self) -> dict[str, Plugin]:
        """By name."""
        return {plugin.name: plugin for found in self.points.values() for plugin in found}
