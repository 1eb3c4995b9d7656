"""Puts claims right: each Service has its own, and none is left of Services that are gone.

Claims and Services are written together, so nothing is ever to be done unless somebody has
deleted an IPAddress, or has written to the store himself. As upstream's repair loops, it only
tells of a value that two Services have.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.seams import Seams
from cluster.machinery import resources
from cluster.storage import claims, encoding, keys
from cluster.storage.generated_names import new_uid
from cluster.storage.strategies.services import IP_CLAIMS, PORT_CLAIMS, ServiceStrategy
from raftstore.types import Compare, Delete, KeyValue, Put, Range, RangeResult, Store

log = logging.getLogger(__name__)

INTERVAL_S = 180.0
SERVICES = keys.prefix(resources.find("services"))


@dataclass
class Plan:
    """`missing`: claim -> the Service that should have it; `stray`: claims that nobody holds;
    `twice`: claim -> Services that both say they hold it."""

    missing: dict[str, KeyValue] = field(default_factory=dict)
    stray: list[KeyValue] = field(default_factory=list)
    twice: dict[str, list[str]] = field(default_factory=dict)


def plan(services: list[KeyValue], held: Mapping[str, KeyValue]) -> Plan:
    """What to do about a consistent view of both (pure)."""
    found, strategy = Plan(), ServiceStrategy()
    holders: dict[str, KeyValue] = {}
    for kv in services:
        for claim in strategy.claims(encoding.decode(kv.value)):
            if claim in holders:
                both = [holders[claim].key.decode(), kv.key.decode()]
                found.twice[claim] = both
            holders[claim] = kv
    for claim, service in holders.items():
        if claim not in held:
            found.missing[claim] = service
        elif not _says(held[claim], claim, service.key.decode()) and claim not in found.twice:
            found.stray.append(held[claim])
            found.missing[claim] = service
    found.stray += [kv for claim, kv in held.items() if claim not in holders and _ours(kv)]
    return found


def _ours(kv: KeyValue) -> bool:
    """Addresses may also be kept by others, for purposes of their own."""
    if not kv.key.startswith(IP_CLAIMS.encode()):
        return True
    labels = encoding.decode(kv.value)["metadata"].get("labels") or {}
    return bool(labels.get(claims.MANAGED_BY) == claims.MANAGER)


def _says(kv: KeyValue, claim: str, holder: str) -> bool:
    if not claim.startswith(IP_CLAIMS):
        return kv.value.decode() == holder
    parent = encoding.decode(kv.value)["spec"].get("parentRef") or {}
    return holder == f"{SERVICES}{parent.get('namespace')}/{parent.get('name')}"


class ClaimRepair:
    """`run` until cancelled; several servers may do this at once."""

    def __init__(self, store: Store, seams: Seams, interval_s: float = INTERVAL_S) -> None:
        self._store, self._seams, self._interval_s = store, seams, interval_s

    async def run(self) -> None:
        while True:
            await self._seams.clock.sleep(self._interval_s)
            try:
                await self.repair()
            except Exception as error:
                log.warning("claims of Services could not be looked at: %s", error)

    async def repair(self) -> Plan:
        """Look once, and put right what is not."""
        prefixes = (SERVICES, IP_CLAIMS, PORT_CLAIMS)
        view = await self._store.txn(
            [], [Range(prefix.encode(), keys.prefix_end(prefix)) for prefix in prefixes]
        )
        services, *held = (r.kvs for r in view.responses if isinstance(r, RangeResult))
        found = plan(list(services), {kv.key.decode(): kv for kvs in held for kv in kvs})
        for claim, both in found.twice.items():
            log.error("%s is held by %s", claim, " and ".join(both))
        for kv in found.stray:
            log.warning("%s belongs to no Service: it is released", kv.key.decode())
            await self._store.txn([Compare(kv.key, "mod", "=", kv.mod_revision)], [Delete(kv.key)])
        for claim, service in found.missing.items():
            await self._claim(claim, service)
        return found

    async def _claim(self, claim: str, service: KeyValue) -> None:
        holder = service.key.decode()
        log.warning("%s has no claim on %s: it gets one", holder, claim)
        uid = new_uid(self._seams)
        data = claims.content(claim, holder, uid, self._seams.clock.wall())
        compares = [
            Compare(claim.encode(), "create", "=", 0),
            Compare(service.key, "mod", "=", service.mod_revision),
        ]
        await self._store.txn(compares, [Put(claim.encode(), data)])
