"""Removing images that nobody uses when the disk fills. `choose` is pure; upstream's rules.

Above the high threshold, images go in the order in which they were last used until the disk is
at the low threshold; those that came lately stay.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from actors.seams import Clock
from cluster.kubelet.images.roots import InUse
from cluster.kubelet.runtimes.images import Image, ImageService

log = logging.getLogger(__name__)

PERIOD_S = 300.0


@dataclass(frozen=True)
class Thresholds:
    """Of the disk's use. `min_age_s`: an image that came so lately is left alone."""

    high_percent: int = 85
    low_percent: int = 80
    min_age_s: float = 120.0

    def __post_init__(self) -> None:
        if not 0 <= self.low_percent <= self.high_percent <= 100:
            raise ValueError("image garbage collection: 0 <= low <= high <= 100 is wanted")


@dataclass(frozen=True)
class Disk:
    capacity_bytes: int
    available_bytes: int

    def excess_bytes(self, thresholds: Thresholds) -> int:
        """How much is to go; 0 below the high threshold."""
        used = self.capacity_bytes - self.available_bytes
        if used * 100 < self.capacity_bytes * thresholds.high_percent:
            return 0
        return max(0, used - self.capacity_bytes * thresholds.low_percent // 100)


@dataclass(frozen=True)
class Seen:
    """When an image was first seen here, and when somebody used it last (0: never)."""

    first_s: float
    used_s: float = 0.0


def is_used(image: Image, in_use: Collection[str]) -> bool:
    return any(name in in_use for name in (image.id, *image.tags, *image.digests))


def update(
    seen: Mapping[str, Seen], images: Sequence[Image], in_use: Collection[str], now_s: float
) -> dict[str, Seen]:
    """What is known about the images that are here now."""
    found = {}
    for image in images:
        old = seen.get(image.id) or Seen(now_s)
        found[image.id] = Seen(old.first_s, now_s if is_used(image, in_use) else old.used_s)
    return found


def choose(
    images: Sequence[Image],
    in_use: Collection[str],
    seen: Mapping[str, Seen],
    now_s: float,
    min_age_s: float,
) -> list[Image]:
    """Those that may go, in the order in which they are to go."""
    free = [each for each in images if not each.pinned and not is_used(each, in_use)]
    old = [each for each in free if now_s - seen[each.id].first_s >= min_age_s]
    return sorted(old, key=lambda each: (seen[each.id].used_s, seen[each.id].first_s))


class ImageCollector:
    """`tell(reason, message)` is a Warning about the node."""

    def __init__(
        self,
        service: ImageService,
        clock: Clock,
        disk: Callable[[], Disk],
        thresholds: Thresholds,
        tell: Callable[[str, str], None],
    ) -> None:
        self._service, self._clock, self._disk = service, clock, disk
        self._thresholds, self._tell = thresholds, tell
        self._seen: dict[str, Seen] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._repeat(), name="image garbage collection")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _repeat(self) -> None:
        while True:
            try:
                await self.collect()
            except Exception:  # of whatever runtime: the next pass tries again
                log.exception("image garbage collection")
            await self._clock.sleep(PERIOD_S)

    async def collect(self) -> int:
        """One pass; the bytes that images had which are gone."""
        wanted = self._disk().excess_bytes(self._thresholds)
        freed = await self.free(wanted, self._thresholds.min_age_s)
        if freed < wanted:
            text = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted}"
            )
            self._tell(
                "FreeDiskSpaceFailed", f"{text} bytes, but only found {freed} bytes eligible."
            )
        return freed

    async def free(self, wanted_bytes: int, min_age_s: float = 0.0) -> int:
        """Remove unused images until so much is free, if there are enough; the bytes they had."""
        images, in_use = await self._service.list(), await self._service.in_use()
        now_s, freed = self._clock.wall(), 0
        self._seen = update(self._seen, images, in_use, now_s)
        for image in choose(images, in_use, self._seen, now_s, min_age_s):
            if freed >= wanted_bytes:
                break
            try:
                await self._service.remove(image.id)
            except InUse:  # since a moment ago
                continue
            freed += image.size_bytes
            log.info("removed image %s, %d bytes", image.tags or image.id, image.size_bytes)
        return freed


def disk_of(path: str) -> Disk:
    found = shutil.disk_usage(path)
    return Disk(found.total, found.free)
