"""Profiles from a KubeSchedulerConfiguration. Pure; raises ValueError with the field's path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cluster.scheduler.framework.plugin import Plugin
from cluster.scheduler.framework.profile import POINTS, Profile
from cluster.scheduler.plugins.registry import DEFAULTS, Registry

Given = Mapping[str, Any]
API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
DEFAULT_NAME = "default-scheduler"


@dataclass(frozen=True)
class Settings:
    profiles: tuple[Profile, ...]
    first_backoff_s: float = 1.0
    max_backoff_s: float = 10.0
    extenders: Sequence[Given] = field(default_factory=tuple)


def default_profile(name: str = DEFAULT_NAME) -> Profile:
    return profile_of({"schedulerName": name}, Registry())


def settings_of(given: Given | None, registry: Registry) -> Settings:
    """Of a decoded configuration; None is the default one."""
    given = given or {"apiVersion": API_VERSION, "kind": KIND}
    if (given.get("apiVersion"), given.get("kind")) != (API_VERSION, KIND):
        raise ValueError(f"a scheduler's configuration must be a {KIND} of {API_VERSION}")
    profiles = tuple(profile_of(each, registry) for each in given.get("profiles") or [{}])
    names = [profile.name for profile in profiles]
    if len(names) != len(set(names)):
        raise ValueError(f"profiles: duplicate schedulerName in {names}")
    if len({profile.queue_sort.name for profile in profiles}) > 1:
        raise ValueError("profiles: all profiles must have the same queueSort plugin")
    for extender in given.get("extenders") or ():
        url = urlsplit(str(extender.get("urlPrefix") or ""))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"extenders: no URL in urlPrefix: {extender.get('urlPrefix')!r}")
    first_s = float(given.get("podInitialBackoffSeconds", 1))
    most_s = float(given.get("podMaxBackoffSeconds", 10))
    if first_s <= 0 or most_s < first_s:
        raise ValueError("podMaxBackoffSeconds must not be less than podInitialBackoffSeconds > 0")
    return Settings(profiles, first_s, most_s, tuple(given.get("extenders") or ()))


def profile_of(given: Given, registry: Registry) -> Profile:
    """The default plugins, less those disabled, and those enabled, per extension point."""
    name = given.get("schedulerName") or DEFAULT_NAME
    arguments = {each["name"]: each.get("args") or {} for each in given.get("pluginConfig") or ()}
    plugins = given.get("plugins") or {}
    if unknown := plugins.keys() - POINTS.keys() - {"multiPoint", "preScore"}:
        raise ValueError(f'profile "{name}": no extension point "{min(unknown)}"')
    builder = _Builder(registry, arguments)
    everywhere = _chosen(DEFAULTS, plugins.get("multiPoint") or {})
    points = {}
    for point, kind in POINTS.items():
        everyone = [(n, w) for n, w in everywhere if isinstance(builder.plugin(n), kind)]
        chosen = _chosen(everyone, plugins.get(point) or {})
        points[point] = tuple(builder.at(point, chosen))
    if len(points["queueSort"]) != 1 or not points["bind"]:
        raise ValueError(f'profile "{name}": one queueSort plugin and a bind plugin are needed')
    return Profile(name, points, builder.weights)


def _chosen(before: Sequence[tuple[str, int]], given: Given) -> list[tuple[str, int]]:
    """Enabled plugins come after what is left of the others, or replace it where it stands."""
    disabled = {each["name"] for each in given.get("disabled") or ()}
    kept = {} if "*" in disabled else {n: w for n, w in before if n not in disabled}
    for each in given.get("enabled") or ():
        kept[each["name"]] = int(each.get("weight") or 0)
    return [*kept.items()]


class _Builder:
    def __init__(self, registry: Registry, arguments: Given) -> None:
        self._registry, self._arguments = registry, arguments
        self._made: dict[str, Plugin] = {}
        self.weights: dict[str, int] = {}

    def plugin(self, name: str) -> Plugin:
        if name not in self._made:
            try:
                self._made[name] = self._registry.make(name, self._arguments.get(name) or {})
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"pluginConfig of {name}: {error}") from error
        return self._made[name]

    def at(self, point: str, chosen: Sequence[tuple[str, int]]) -> list[Plugin]:
        for name, weight in chosen:
            if not isinstance(self.plugin(name), POINTS[point]):
                raise ValueError(f'plugin "{name}" does not extend {point}')
            if point == "score":
                self.weights[name] = weight or 1
        return [self.plugin(name) for name, _ in chosen]
