"""What one simulated node has given to pods: resources and addresses. Pure."""

from __future__ import annotations

import heapq
import ipaddress
from collections.abc import Mapping
from typing import Any

from cluster.kubelet import admission

Object = dict[str, Any]

_FIRST_SLOT = 2


class Account:
    """A pod is admitted once, by its uid, and keeps its address until it is released."""

    def __init__(self, node: Object) -> None:
        self._held: dict[str, dict[str, int]] = {}
        self._used: dict[str, int] = {}
        self._slots: dict[str, int] = {}
        self._taken: set[int] = set()
        self._free: list[int] = []
        self._fresh = _FIRST_SLOT
        self.update(node)

    def update(self, node: Object) -> None:
        """The node's labels, allocatable resources and range of addresses as they are now."""
        status, spec = node.get("status") or {}, node.get("spec") or {}
        self._labels: Mapping[str, str] = node["metadata"].get("labels") or {}
        self._capacity = admission.amounts(status.get("allocatable") or {})
        cidr = spec.get("podCIDR")
        self._network = ipaddress.ip_network(cidr) if cidr else None

    def __contains__(self, uid: str) -> bool:
        return uid in self._held

    def admit(self, pod: Object) -> tuple[str, str] | None:
        """(reason, message) if it cannot run here; None if it can, and now does."""
        uid = pod["metadata"]["uid"]
        if uid in self._held:
            return None
        refusal = admission.refusal(pod, self._used, self._labels, self._capacity)
        if refusal is None:
            self.hold(pod)
        return refusal

    def hold(self, pod: Object) -> None:
        """As `admit` of a pod that runs already, whatever the node has left."""
        amounts = admission.requests(pod) | {"pods": 1}
        self._held[pod["metadata"]["uid"]] = amounts
        self._add(amounts, 1)

    def give_back(self, uid: str) -> None:
        """The pod has ended: its resources are free, its address is not yet."""
        self._add(self._held.pop(uid, {}), -1)

    def _add(self, amounts: Mapping[str, int], sign: int) -> None:
        for name, amount in amounts.items():
            self._used[name] = self._used.get(name, 0) + sign * amount

    def address(self, uid: str) -> str:
        """The pod's own; "" if the node has none (left)."""
        if uid not in self._slots:
            self._slots[uid] = self._next_slot()
            self._taken.add(self._slots[uid])
        slot = self._slots[uid]
        has = self._network is not None and slot < self._network.num_addresses - 1
        return str(self._network[slot]) if self._network is not None and has else ""

    def _next_slot(self) -> int:
        """The lowest that is free, past the network's own address and its gateway's."""
        while True:
            slot = heapq.heappop(self._free) if self._free else self._fresh
            self._fresh = max(self._fresh, slot + 1)
            if slot not in self._taken:
                return slot

    def keep_address(self, uid: str, address: str) -> None:
        """An address that the pod has from before."""
        if self._network is None or not address:
            return
        found = ipaddress.ip_address(address)
        if found in self._network:
            self._slots[uid] = int(found) - int(self._network.network_address)
            self._taken.add(self._slots[uid])

    def release(self, uid: str) -> None:
        """The pod is gone."""
        self.give_back(uid)
        slot = self._slots.pop(uid, None)
        if slot is not None:
            self._taken.discard(slot)
            heapq.heappush(self._free, slot)
