"""The components of one actor, run together in one process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from actors.component import ActorSpec, Component, Health, create
from actors.errors import ComponentFailed
from actors.seams import Seams


class ComponentGroup:
    """Starts an actor's components in their order, and stops them in the opposite one."""

    def __init__(self, spec: ActorSpec, seams: Seams) -> None:
        self._spec = spec
        self._seams = seams
        self._running: list[Component] = []

    async def start(self) -> dict[str, Any]:
        """Raises ComponentFailed, with everything that had started stopped again."""
        write_files(self._spec.files)
        for component_spec in self._spec.components:
            component = create(component_spec)
            self._running.append(component)
            try:
                await component.start(self._seams, component_spec.config)
            except Exception as error:
                await self.stop()
                raise ComponentFailed(f"{component_spec.class_path}: {_told(error)}") from error
        return {"addresses": [c.address for c in self._running if c.address]}

    async def stop(self) -> None:
        """Every component is stopped, even if one of them raises; the first error is raised."""
        stopping, self._running = self._running[::-1], []
        results = [await _outcome(component) for component in stopping]
        for error in filter(None, results):
            raise error

    async def health(self) -> Health:
        return combine([await component.health() for component in self._running])


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else repr(error)


def combine(healths: Sequence[Health]) -> Health:
    """A group is ready when all of it is, and has failed when any of it has."""
    facts: dict[str, Any] = {}
    for health in healths:
        facts.update(health.facts)
    detail = "; ".join(health.detail for health in healths if health.detail)
    ready = bool(healths) and all(health.ready for health in healths)
    return Health(ready, detail, facts, any(health.failed for health in healths))


async def _outcome(component: Component) -> Exception | None:
    try:
        async with asyncio.timeout(20):
            await component.stop()
    except Exception as error:  # the others must still be stopped
        return error
    return None


KEPT = ".kept"


def write_files(files: Sequence[tuple[str, bytes]]) -> None:
    """Put certificates and keys where the components' configs say; owner-only, atomically.

    A file with one of the ending KEPT beside it has been renewed, and is left alone.
    """
    for path, content in files:
        if os.path.exists(path) and os.path.exists(path + KEPT):
            continue
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if os.path.exists(path):
            with open(path, "rb") as existing:
                if existing.read() == content:
                    continue
        temporary = f"{path}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as new:
            new.write(content)
        os.replace(temporary, path)
