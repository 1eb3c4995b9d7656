"""The component protocol: what every long-lived part of raykube looks like to a host."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from actors.seams import Seams

Config = Mapping[str, Any]
"""JSON-like values only, so that a config can be sent, printed and stored."""


@dataclass(frozen=True)
class Health:
    """`ready` gates what depends on a component; `detail` is shown by `raykube status`.

    `failed` says that it cannot go on and wants to be started again from nothing.
    """

    ready: bool
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    failed: bool = False


class Component(Protocol):
    """A plain async class. A host creates it, starts it once, probes it, and stops it once."""

    @property
    def address(self) -> str | None:
        """`host:port` that others reach it at, once started; None if it only calls out."""
        ...

    async def start(self, seams: Seams, config: Config) -> None:
        """Return when serving (or trying to lead); raise to be restarted with back-off."""
        ...

    async def stop(self) -> None:
        """Release sockets, files and tasks. May be called after a failed start."""
        ...

    async def health(self) -> Health:
        """Cheap and quick: it is asked every second."""
        ...


@dataclass(frozen=True)
class ComponentSpec:
    """What to run: `class_path` is `package.module:Class`."""

    class_path: str
    config: Config


@dataclass(frozen=True)
class ActorSpec:
    """One process: its name in the cluster, the components in it, and where it must stand.

    `kind` groups actors for people (`store`, `api-server`, `node`, ...); `host` is the value of
    the `host` label of the machine it is pinned to, or "" for any. `files` (absolute path, content)
    are written before the components start, so that keys reach machines that have no copy.
    """

    name: str
    kind: str
    components: tuple[ComponentSpec, ...]
    host: str = ""
    files: tuple[tuple[str, bytes], ...] = ()
    log_file: str = ""


def create(spec: ComponentSpec) -> Component:
    """Import the class and make an instance; nothing is started."""
    module_name, _, class_name = spec.class_path.partition(":")
    return cast(Component, getattr(importlib.import_module(module_name), class_name)())
