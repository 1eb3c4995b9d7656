"""Finding devices for all claims of a pod on one node, by search with backtracking. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.scheduler.devices.ledger import Ledger, share
from cluster.scheduler.devices.pools import Amounts, Device
from cluster.scheduler.plugins.tolerations import tolerated

Object = dict[str, Any]
Selects = Callable[[Object, Device], bool]
"""Whether a request (exact or alternative) selects a device, by class and selectors."""

STEPS = 20_000
"""Of one search: a request that is harder than that counts as one that cannot be met."""


class TooHard(Exception):
    """The search was given up."""


@dataclass(frozen=True)
class Picked:
    """One device for one request of the claim with that number; `share` of its capacity, if others
    may have the rest."""

    claim: int
    request: str
    device: Device
    admin: bool
    share: Amounts


class Search:
    def __init__(
        self,
        claims: Sequence[Object],
        devices: Sequence[Device],
        ledger: Ledger,
        selects: Selects,
    ) -> None:
        """`ledger`: what belongs to claims already."""
        self._claims, self._devices = claims, devices
        self._ledger, self._selects = ledger.copy(), selects
        self._picked: list[Picked] = []
        self._steps = 0
        self._requests = [
            (number, request)
            for number, claim in enumerate(claims)
            for request in (claim["spec"].get("devices") or {}).get("requests") or ()
        ]

    def run(self) -> list[Picked] | None:
        """All devices, or None if not all claims can be satisfied. Raises TooHard."""
        return self._picked if self._request(0) else None

    def _request(self, at: int) -> bool:
        """Satisfy this request and all after it; the first alternative that works is taken."""
        if at == len(self._requests):
            return True
        number, request = self._requests[at]
        if "exactly" in request:
            return self._exact(at, number, request["name"], request["exactly"])
        return any(
            self._exact(at, number, f"{request['name']}/{each['name']}", each)
            for each in request.get("firstAvailable") or ()
        )

    def _exact(self, at: int, claim: int, name: str, asked: Object) -> bool:
        fitting = [d for d in self._devices if self._fits(asked, d)]
        if asked.get("allocationMode") == "All":
            return bool(fitting) and self._all(at, claim, name, asked, fitting)
        return self._some(at, claim, name, asked, fitting, int(asked.get("count") or 1))

    def _fits(self, asked: Object, device: Device) -> bool:
        self._steps += 1
        if self._steps > STEPS:
            raise TooHard
        return _tolerates(asked, device) and self._selects(asked, device)

    def _all(
        self, at: int, claim: int, name: str, asked: Object, fitting: Sequence[Device]
    ) -> bool:
        done = 0
        for device in fitting:
            if not self._take(claim, name, asked, device):
                break
            done += 1
        if done == len(fitting) and self._request(at + 1):
            return True
        for _ in range(done):
            self._give_back()
        return False

    def _some(
        self, at: int, claim: int, name: str, asked: Object, left: Sequence[Device], count: int
    ) -> bool:
        if count == 0:
            return self._request(at + 1)
        for position, device in enumerate(left):
            rest = left[position:]
            if len(rest) < count and not any(each.shareable for each in rest):
                return False
            self._steps += 1
            if self._steps > STEPS:
                raise TooHard
            if self._take(claim, name, asked, device):
                if self._some(at, claim, name, asked, rest[not device.shareable :], count - 1):
                    return True
                self._give_back()
        return False

    def _take(self, claim: int, name: str, asked: Object, device: Device) -> bool:
        admin, taken = bool(asked.get("adminAccess")), share(device, asked)
        if not admin and (taken is None or not self._ledger.room(device, taken)):
            return False
        picked = Picked(claim, name, device, admin, {} if admin else taken or {})
        self._picked.append(picked)
        if not admin:
            self._ledger.take(device, picked.share)
        if self._constrained(claim):
            return True
        self._give_back()
        return False

    def _give_back(self) -> None:
        picked = self._picked.pop()
        if not picked.admin:
            self._ledger.give_back(picked.device, picked.share)

    def _constrained(self, claim: int) -> bool:
        """Whether the claim's constraints hold for what has been picked so far."""
        given = (self._claims[claim]["spec"].get("devices") or {}).get("constraints") or ()
        mine = [picked for picked in self._picked if picked.claim == claim]
        return all(_holds(constraint, mine) for constraint in given)


def _holds(constraint: Object, picked: Iterable[Picked]) -> bool:
    names = constraint.get("requests") or ()
    meant = [p for p in picked if not names or _named(p.request, names)]
    attribute = constraint.get("matchAttribute") or constraint.get("distinctAttribute")
    if not attribute:
        return True
    values = [p.device.attribute(attribute) for p in meant]
    if any(value is None for value in values):
        return False
    different = len({repr(value) for value in values})
    return different <= 1 if constraint.get("matchAttribute") else different == len(values)


def _named(request: str, names: Sequence[str]) -> bool:
    return request in names or request.partition("/")[0] in names


def _tolerates(asked: Object, device: Device) -> bool:
    given = asked.get("tolerations") or ()
    for taint in device.given.get("taints") or ():
        of = (taint["key"], taint.get("value") or "", taint["effect"])
        if of[2] in ("NoSchedule", "NoExecute") and not tolerated(given, of):
            return False
    return True
