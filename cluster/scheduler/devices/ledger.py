"""What is left of devices: whose they are, of counters that several share, of capacity. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from cluster.machinery import quantity
from cluster.scheduler.devices.pools import Amounts, Device, Identity

Object = dict[str, Any]


class Ledger:
    """A device belongs to one claim, or to as many as its capacity has room for if it allows
    several allocations. Either way it consumes its counters once."""

    def __init__(
        self, taken: Iterable[tuple[Identity, Amounts]], published: Iterable[Device]
    ) -> None:
        """`taken`: devices of claims, each with the capacity that the claim has of it."""
        self._users: Counter[Identity] = Counter()
        self._spent: Counter[tuple[str, ...]] = Counter()
        known = {device.identity: device for device in published}
        for identity, share in taken:
            self._account(identity, known.get(identity), share, 1)

    def copy(self) -> Ledger:
        new = Ledger((), ())
        new._users, new._spent = self._users.copy(), self._spent.copy()
        return new

    def room(self, device: Device, share: Amounts) -> bool:
        spent = self._spent
        if self._users[device.identity]:
            if not device.shareable:
                return False
        elif any(spent[c] + n > device.limits.get(c, 0) for c, n in device.consumes.items()):
            return False
        capacity = device.capacity if device.shareable else {}
        return all(
            spent[*device.identity, name] + amount <= quantity.parse(capacity[name]["value"])
            for name, amount in share.items()
        )

    def take(self, device: Device, share: Amounts) -> None:
        self._account(device.identity, device, share, 1)

    def give_back(self, device: Device, share: Amounts) -> None:
        self._account(device.identity, device, share, -1)

    def _account(
        self, identity: Identity, device: Device | None, share: Amounts, sign: int
    ) -> None:
        before = self._users[identity]
        self._users[identity] = before + sign
        if device is not None and (before == 0) != (before + sign == 0):
            for counter, amount in device.consumes.items():
                self._spent[counter] += sign * amount
        for name, amount in share.items():
            self._spent[*identity, name] += sign * amount


def share(device: Device, asked: Object) -> Amounts | None:
    """What one allocation takes of each capacity of a device that allows several: what is asked
    for, or the default, rounded up as the device says. None: it has not as much."""
    wanted = (asked.get("capacity") or {}).get("requests") or {}
    if not wanted and not device.shareable:
        return {}
    if any(name not in device.capacity for name in wanted):
        return None
    found = {}
    for name, given in device.capacity.items():
        amount = _rounded(wanted.get(name), given)
        if amount is None or amount > quantity.parse(given["value"]):
            return None
        found[name] = amount
    return found if device.shareable else {}


def _rounded(asked: str | None, given: Mapping[str, Any]) -> int | None:
    """As the capacity's requestPolicy has it; without one, all of it unless less is asked for."""
    policy: Mapping[str, Any] = given.get("requestPolicy") or {}
    if asked is None:
        return quantity.parse(policy.get("default") or given["value"])
    amount, between = quantity.parse(asked), policy.get("validRange") or {}
    if policy.get("validValues"):
        fitting = [v for v in map(quantity.parse, policy["validValues"]) if v >= amount]
        return min(fitting, default=None)
    least = quantity.parse(between.get("min") or "0")
    amount = max(amount, least)
    if between.get("step"):
        step = quantity.parse(between["step"])
        amount = least - (least - amount) // step * step
    if between.get("max") and amount > quantity.parse(between["max"]):
        return None
    return amount
