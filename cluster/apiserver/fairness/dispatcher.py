"""Lets requests in: finds the flow and the level of each, and takes seats there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.seams.clock import Clock
from cluster.apiserver.authz.attributes import Attributes
from cluster.apiserver.authz.follow import Follow
from cluster.apiserver.fairness import borrowing, schemas
from cluster.apiserver.fairness.borrowing import Observed, Share
from cluster.apiserver.fairness.queues import Level, Rejected, Shape
from cluster.apiserver.fairness.schemas import Schema
from cluster.machinery import status
from cluster.storage.cache import ResourceCache
from cluster.storage.entry import Entry

SEATS = 600
"""Of a whole server: upstream's 400 reading and 200 writing requests."""
MAX_WIDTH, OBJECTS_A_SEAT = 10, 100
REMEMBERED = 8192
RETRY_AFTER_S = 1
HEADERS = "X-Kubernetes-PF-FlowSchema-UID", "X-Kubernetes-PF-PriorityLevel-UID"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kind of request belongs. `headers` tell the client."""

    level: Level
    flow: int
    headers: Mapping[str, str]


class Ticket:
    """Seats that a request holds. `leave` may be called twice."""

    __slots__ = ("_level", "_seats", "headers")

    def __init__(self, level: Level | None, seats: int, headers: Mapping[str, str]) -> None:
        self._level = level
        self._seats, self.headers = seats, headers

    def leave(self) -> None:
        level, self._level = self._level, None
        if level is not None:
            level.leave(self._seats)


FREE = Ticket(None, 0, {})
"""For what takes no seats."""


class Fairness:
    """Follows the caches of FlowSchemas and PriorityLevelConfigurations."""

    def __init__(
        self, flow_schemas: ResourceCache, levels: ResourceCache, clock: Clock, seats: int = SEATS
    ) -> None:
        self._clock, self._seats = clock, seats
        self._schemas: dict[str, Schema] = {}
        self._configured: dict[str, Any] = {}
        self._ordered: list[Schema] = []
        self.levels: dict[str, Level] = {}
        self._open = Level(Shape(None), clock)
        self._known: dict[Any, Place] = {}
        self._follows = (
            Follow(flow_schemas, self._put_schema, self._drop_schema, self._schemas.clear),
            Follow(levels, self._put_level, self._drop_level, self._configured.clear),
        )

    async def enter(self, asked: Attributes, width: int) -> Ticket:
        """Wait for the request's turn; 429 if there is no place to wait, or it takes too long."""
        if any([follow.catch_up() for follow in self._follows]):
            self._rebuild()
        place = self._place(asked)
        try:
            seats = await place.level.enter(place.flow, width)
        except Rejected:
            text = "too many requests, please try again later."
            raise status.too_many_requests(text, RETRY_AFTER_S) from None
        return Ticket(place.level, seats, place.headers)

    async def run(self) -> None:
        """Let levels lend each other seats, once a period."""
        while True:
            await self._clock.sleep(borrowing.PERIOD_S)
            self.adjust()

    def adjust(self) -> None:
        """Divide the seats anew by what was asked for since the last time."""
        levels, now_s = list(self.levels.values()), self._clock.now()
        shares = [_share(level, level.demand.end_period(now_s)) for level in levels]
        usual = [level.shape.nominal for level in levels]
        found = borrowing.allocate(self._seats, shares) or usual
        for level, seats in zip(levels, found, strict=True):
            if level.shape.seats is not None:
                level.adjust(max(1, seats))

    # -- which place ---------------------------------------------------------------------------

    def _place(self, asked: Attributes) -> Place:
        what = (asked.group, asked.full_resource) if asked.resource else asked.path
        key = (asked.user, asked.verb, asked.namespace, what)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[key] = self._search(asked)
        return found

    def _search(self, asked: Attributes) -> Place:
        """Before the objects are there nothing is limited: the server is still starting."""
        for schema in self._ordered:
            if schema.level in self.levels and schema.fits(asked):
                flow = f"{schema.name}/{schema.flow(asked)}".encode()
                hashed = int.from_bytes(hashlib.sha256(flow).digest()[:8], "big")
                uid = self._configured[schema.level]["metadata"].get("uid", "")
                headers = dict(zip(HEADERS, (schema.uid, uid), strict=True))
                return Place(self.levels[schema.level], hashed, headers)
        return Place(self._open, 0, {})

    # -- what is configured --------------------------------------------------------------------

    def _put_schema(self, entry: Entry) -> None:
        self._schemas[entry.key] = schemas.parse(entry.decode())

    def _drop_schema(self, key: str) -> None:
        self._schemas.pop(key, None)

    def _put_level(self, entry: Entry) -> None:
        obj = entry.decode()
        self._configured[obj["metadata"]["name"]] = obj

    def _drop_level(self, key: str) -> None:
        self._configured.pop(key.rpartition("/")[2], None)

    def _rebuild(self) -> None:
        """Levels whose shape stays keep their queues; others drain while new ones take over."""
        self._ordered = schemas.ordered(list(self._schemas.values()))
        self._known.clear()
        total = sum(_shares(obj) for obj in self._configured.values()) or 1
        levels: dict[str, Level] = {}
        for name, obj in self._configured.items():
            shape = _shape(obj, self._seats, total)
            old = self.levels.get(name)
            same = old is not None and old.shape == shape
            levels[name] = old if same and old is not None else Level(shape, self._clock)
        self.levels = levels


def _share(level: Level, seen: Observed) -> Share:
    """A level that nothing limits takes of the common seats what it is entitled to."""
    shape = level.shape
    own, high = shape.nominal, math.ceil(seen.high)
    least = max(shape.least, min(own, high))
    return Share(least, max(shape.most, least), max(float(least), level.demand.smoothed))


def _shares(obj: Mapping[str, Any]) -> int:
    spec = obj["spec"]
    part = spec.get("exempt") if spec["type"] == "Exempt" else spec.get("limited")
    usual = 0 if spec["type"] == "Exempt" else 30
    return int((part or {}).get("nominalConcurrencyShares", usual))


def _shape(obj: Mapping[str, Any], seats: int, total: int) -> Shape:
    spec = obj["spec"]
    exempt = spec["type"] == "Exempt"
    part = (spec.get("exempt") if exempt else spec.get("limited")) or {}
    own = math.ceil(seats * _shares(obj) / total)
    lent = round(own * int(part.get("lendablePercent") or 0) / 100)
    limit = part.get("borrowingLimitPercent")
    most = seats if limit is None else own + round(own * int(limit) / 100)
    if exempt:
        return Shape(None, nominal=own, least=own - lent, most=seats)
    bounds = {"nominal": own, "least": own - lent, "most": most}
    own = max(1, own)
    response = (spec.get("limited") or {}).get("limitResponse") or {}
    if response.get("type") != "Queue":
        return Shape(own, **bounds)
    queuing = response.get("queuing") or {}
    return Shape(
        own,
        int(queuing.get("queues") or 64),
        int(queuing.get("handSize") or 8),
        int(queuing.get("queueLengthLimit") or 50),
        **bounds,
    )


def width(objects: int) -> int:
    """The seats of a request that lists so many objects."""
    return min(MAX_WIDTH, max(1, math.ceil(objects / OBJECTS_A_SEAT)))
